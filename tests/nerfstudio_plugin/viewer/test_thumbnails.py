"""Thumbnails of a photo with a mask and marks in it."""

import numpy as np

from nerfstudio_plugin.viewer.marks import Mark
from nerfstudio_plugin.viewer.thumbnails import SIDE, preview_image, thumbnail

RED, WHITE, GREEN = (200, 0, 0), (255, 255, 255), (60, 220, 90)


def click(x, y, label=1):
    return Mark(0, label, (x, y), None, (0, 0, 0))


def test_the_photo_itself_without_a_mask():
    image = np.zeros((2, 4, 3), np.uint8)
    image[:, 2:] = 240
    picture = thumbnail(image, None, RED)
    assert picture.shape == (SIDE // 2, SIDE, 3)
    assert picture[:, :80].max() < 20  # resampling rings a little
    assert picture[:, 220:].min() > 220


def test_a_mask_is_tinted_and_marks_lie_on_their_pixels():
    image, mask = np.full((10, 10, 3), 100, np.uint8), np.zeros((10, 10), bool)
    mask[:, :5] = True
    marks = [click(1.0, 2.0), click(7.0, 8.0, label=0), Mark(0, 1, None, (6, 1, 9, 3), (0, 0, 0))]
    picture = thumbnail(image, mask, RED, marks, side=100)
    assert picture.shape == (100, 100, 3)
    assert picture[25, 15].tolist() == [60, 220, 90]  # pixel (1, 2)'s middle
    assert picture[85, 75].tolist() == [250, 60, 60]
    assert picture[10, 60].tolist() == [255, 255, 255]  # a corner of the box
    red, green, _ = picture[60, 20].astype(int)
    assert red > green + 30  # tinted
    assert np.abs(picture[60, 90].astype(int) - 100).max() < 10  # not the object


def test_a_sheet_shows_the_surroundings_of_marks_and_masks():
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 100:120] = 200
    mask = image[..., 0] > 0
    sheet = preview_image(image, [mask], RED, [click(110, 50)])
    # 20 pixels of mask and, with side lengths 30 at least, 0.4 * 30 = 12 of room on either side
    assert sheet.shape == (SIDE, SIDE, 3)
    assert sheet[153, 153].tolist() == list(GREEN)  # (110.5 - 88) * 300 / 44
    far = preview_image(image, [mask], RED, [click(110, 50), click(190, 5, label=0)])
    assert far.shape[0] < SIDE  # wider than high, with both clicks in it
    assert (far == (250, 60, 60)).all(axis=2).any()
    assert (far == GREEN).all(axis=2).any()


def test_candidates_stand_below_in_their_order():
    image = np.zeros((30, 30, 3), np.uint8)
    masks = [np.zeros((30, 30), bool) for _ in range(4)]
    masks[0][5:25, 5:25] = masks[2][5:25, 5:25] = True
    masks[1][10:20, 10:20] = masks[3][:] = True
    sheet = preview_image(image, masks, (255, 0, 0), [click(15, 15)])
    assert sheet.shape == (SIDE + 4 + 96, SIDE, 3)
    assert (sheet[SIDE : SIDE + 4] == 40).all()
    shares = [float((sheet[SIDE + 4 :, x : x + 96, 0] > 80).mean()) for x in (0, 100, 200)]
    assert shares == sorted(shares)
    np.testing.assert_allclose(shares, [100 / 900, 400 / 900, 1.0], atol=0.06)


def test_marks_at_the_border_and_empty_masks():
    image, nothing = np.full((20, 30, 3), 9, np.uint8), np.zeros((20, 30), bool)
    for spot in ((0.0, 0.0), (29.0, 19.0)):
        sheet = preview_image(image, [nothing], RED, [click(*spot)])
        assert max(sheet.shape) == SIDE
        assert (sheet == GREEN).all(axis=2).any()
