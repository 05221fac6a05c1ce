"""Crops of several pictures side by side, enlarged pixel by pixel, with a heading for each column."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL, GAP, FONT_SIZE = 288, 8, 15  # pixels; CELL is the width that a crop is enlarged to, or a little less
LINE = FONT_SIZE + 9


def comparison(headings: list[str], rows: list[list[tuple[np.ndarray, str]]]) -> Image.Image:
    """One picture of all rows.

    Args:
        headings: one for each column.
        rows: for each row its cells, (uint8 (H, W, 3), caption); all crops have the same size.
    """
    zoom = max(1, CELL // rows[0][0][0].shape[1])
    height, width = (zoom * size for size in rows[0][0][0].shape[:2])
    sheet = Image.new(
        "RGB",
        (GAP + len(headings) * (width + GAP), GAP + LINE + len(rows) * (height + LINE + GAP)),
        "white",
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)

    def write(text, *, column, top, color):
        while len(text) > 1 and font.getlength(text) > width:
            text = text[1:]  # the end of a long path is what tells it from others
        draw.text((GAP + column * (width + GAP) + width / 2, top + LINE / 2), text, color, font, anchor="mm")

    for column, heading in enumerate(headings):
        write(heading, column=column, top=GAP / 2, color="black")
    for row, cells in enumerate(rows):
        top = GAP + LINE + row * (height + LINE + GAP)
        for column, (pixels, caption) in enumerate(cells):
            enlarged = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (GAP + column * (width + GAP), top))
            write(caption, column=column, top=top + height, color="dimgray")
    return sheet
