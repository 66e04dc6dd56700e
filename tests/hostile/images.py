"""Image files: headers that claim more than there is, and what is no image."""

import struct
import zlib

from tests.hostile.bad import Bad, Content, encoded, endless, folder, link, pipe

DETECT = "detect model.onnx photo.png --json out.json"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")


def patched(suffix: str, at: int, value: bytes) -> bytes:
    content = encoded(suffix)
    return content[:at] + value + content[at + len(value) :]


def jpeg(width: int, height: int, garbage: bytes = b"") -> bytes:
    """`garbage` before the frame's marker, which libjpeg passes over."""
    content = encoded(".jpg")
    at = content.index(b"\xff\xc0")
    return content[:at] + garbage + content[at : at + 5] + struct.pack(">HH", height, width) + content[at + 9 :]


def tiff(width: int, height: int) -> bytes:
    entries = [(0x100, 4, width), (0x101, 4, height), (0x111, 4, 8), (0x117, 4, 9)]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)


def big_tiff(width: int, height: int) -> bytes:
    entries = [(0x100, 4, width), (0x101, 4, height)]
    body = b"".join(struct.pack(">HHQI4x", tag, kind, 1, value) for tag, kind, value in entries)
    return b"MM\0+" + struct.pack(">HHQQ", 8, 0, 16, len(entries)) + body + bytes(8)


def webp(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + sides + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def avif(width: int, height: int) -> bytes:
    return b"\0\0\0\x20ftypavif" + bytes(16) + b"\0\0\0\x14ispe" + struct.pack(">4xII", width, height)


CLAIMS: dict[str, bytes] = {
    "JPEG": jpeg(30_000, 30_000),
    "JPEG with garbage before its frame": jpeg(30_000, 30_000, b"garbage"),
    "JPEG, a row": jpeg(65_500, 3_054),
    "PNG": png(30_000, 30_000, bytes(90_001)),
    "PNG beyond OpenCV's own limit": png(1 << 30, 1 << 30),
    "GIF": patched(".gif", 6, struct.pack("<HH", 30_000, 30_000)),
    "BMP": patched(".bmp", 18, struct.pack("<ii", 30_000, -30_000)),
    "TIFF": tiff(30_000, 30_000),
    "TIFF of 64 bits": big_tiff(30_000, 30_000),
    "WEBP": webp(16_384, 16_384),
    "AVIF": avif(30_000, 30_000),
    "PNM": b"P6\n# a comment\n30000 30000\n255\nabc",
}
NO_IMAGES: dict[str, Content] = {
    "empty": b"",
    "a text": "I am a text",
    "a page": "<!DOCTYPE html><html>not found</html>",
    "a vector graphic": "<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
    "a JPEG's first bytes": encoded(".jpg")[:40],
    "half a JPEG": encoded(".jpg")[:900],
    "half a PNG": encoded(".png")[:900],
    "half a WEBP": encoded(".webp")[:300],
    "half a TIFF": encoded(".tiff")[:300],
    "half a BMP": encoded(".bmp")[:300],
    "a TIFF whose directory is itself": b"II*\0\0\0\0\0" + bytes(20),
    "a TIFF whose directory lies beyond any file": b"MM\0+\0\x08\0\0" + b"\xff" * 30,
    "a PNG of no pixels": png(0, 0),
    "a PNG bomb within the limit": png(9_000, 9_000, bytes(1000)),
    "radiance, whose size cannot be told": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 30000 +X 30000\nabc",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
    "a Sun raster": struct.pack(">8I", 0x59A66A95, 30_000, 30_000, 24, 2_700_000_000, 1, 0, 0),
}

IMAGES = [
    *(
        Bad(f"image: a {name} that claims too much", DETECT, r"photo\.png claims \d+ x \d+ pixels",
        {"photo.png": content})
        for name, content in CLAIMS.items()
    ),
    *(
        Bad(f"image: {name}", DETECT, r"photo\.png is not an image", {"photo.png": content})
        for name, content in NO_IMAGES.items()
    ),
    Bad("image: a folder", DETECT, "folder photo.png has no images", {"photo.png": folder}),
    Bad("image: a pipe", DETECT, r"source photo\.png is a pipe", {"photo.png": pipe}),
    Bad("image: a device", DETECT, r"no camera photo\.png", {"photo.png": endless}),
    Bad("image: a circle of links", DETECT, "a link to nothing", {"photo.png": link("photo.png")}),
    Bad("image: a name that no system takes", f"detect model.onnx {'a' * 5000} --json out.json", "does not exist", {}),
    Bad("image: a folder of bombs", "detect model.onnx photos --json out.json", "none of the 2 images .* claims",
        {"photos/a.jpg": CLAIMS["JPEG"], "photos/b.png": CLAIMS["PNG"]}),
    Bad("image: a folder of pipes", "detect model.onnx photos --json out.json", "none of the 1 images .* pipe",
        {"photos/a.jpg": pipe}),
    Bad("bench: an image that is a pipe", "bench model.onnx --image photo.png", "a device or a pipe",
        {"photo.png": pipe}),
    Bad("bench: a bomb", "bench model.onnx --image photo.png", "claims 30000 x 30000", {"photo.png": CLAIMS["JPEG"]}),
    Bad("explain: an image that is a device", "explain best.pt photo.png", "a device or a pipe",
        {"photo.png": endless}),
    Bad("explain: a bomb", "explain best.pt photo.png", "claims 30000 x 30000", {"photo.png": CLAIMS["GIF"]}),
    Bad("export: images that are no folder", "export best.pt --images photo.png", "is not a folder",
        {"photo.png": pipe}),
    Bad("export: a validation set that is a pipe", "export best.pt", "a device or a pipe", {"data/val.json": pipe}),
    Bad("train: images that are bombs", "train recipe.yaml --run-dir run --set data.cache=memory", "claims",
        {"data/train/a.png": CLAIMS["JPEG"]}),
    Bad("show: images that are bombs", "data show recipe.yaml -o sheet.png --set data.cache=memory", "claims",
        {"data/train/a.png": CLAIMS["PNG"]}),
]  # fmt: skip
