"""Image files: small ones that claim gigabytes, and files that are no images."""

import struct
import zlib

import cv2

from tests.hostile.bad import Bad, Content, encoded, endless, link, pipe

DETECT = "detect model.onnx photo.png --json out.json"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")


def patched(content: bytes, at: int, value: bytes) -> bytes:
    return content[:at] + value + content[at + len(value) :]


def jpeg(width: int, height: int) -> bytes:
    content = encoded(".jpg")
    return patched(content, content.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def tiff(width: int, height: int) -> bytes:
    content = encoded(".tiff")
    (start,) = struct.unpack_from("<I", content, 4)
    for at in range(start + 2, start + 2 + 12 * content[start], 12):
        if sides := {0x0100: width, 0x0101: height, 0x0116: height}.get(struct.unpack_from("<H", content, at)[0]):
            content = patched(content, at + 2, struct.pack("<HII", 4, 1, sides))
    return content


def avif(width: int, height: int) -> bytes:
    content = encoded(".avif")
    return patched(content, content.index(b"ispe") + 8, struct.pack(">II", width, height))


LOSSLESS = cv2.IMWRITE_WEBP_QUALITY, 101
BOMBS: dict[str, bytes] = {
    "JPEG": jpeg(30_000, 30_000),
    "JPEG of one row": jpeg(65_500, 3_054),
    "PNG": png(30_000, 30_000, bytes(90_001)),
    "GIF": patched(encoded(".gif"), 6, struct.pack("<HH", 30_000, 30_000)),
    "BMP": patched(encoded(".bmp"), 18, struct.pack("<ii", 30_000, -30_000)),
    "TIFF": tiff(30_000, 30_000),
    "WebP": patched(encoded(".webp", options=LOSSLESS), 21, struct.pack("<I", (1 << 28) - 1)),
    "AVIF": avif(16_000, 16_000),
    "PNM": b"P6\n# a comment\n30000 30000\n255\nabc",
}
"""each claims 200 million to 900 million pixels"""
REFUSED: dict[str, bytes] = {
    "PNG of 2^60 pixels": png(1 << 30, 1 << 30),
    "AVIF of more than its library takes": avif(30_000, 30_000),
}
"""bombs that a library refuses before OpenCV compares the size with its limit"""
NO_IMAGES: dict[str, Content] = {
    "a page": "<!DOCTYPE html><html>not found</html>",
    "a drawing that names a file": "<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
    "half a JPEG": encoded(".jpg")[:900],
    "a TIFF whose directory is itself": b"II*\0\0\0\0\0" + bytes(20),
    "a TIFF whose directory lies beyond any file": b"MM\0+\0\x08\0\0" + b"\xff" * 30,
    "a PNG of no pixels": png(0, 0),
    "a PNG bomb within the limit": png(9_000, 9_000, bytes(1000)),
    "a format that is not read": struct.pack(">8I", 0x59A66A95, 30_000, 30_000, 24, 2_700_000_000, 1, 0, 0),
}
JPEG_BOMB = BOMBS["JPEG"]

IMAGES = [
    *(Bad(f"image: {name}", DETECT, r"photo\.png is not an image", {"photo.png": content})
        for name, content in {**NO_IMAGES, **REFUSED}.items()),
    Bad("image: a pipe", DETECT, r"source photo\.png is a pipe", {"photo.png": pipe}),
    Bad("image: a device", DETECT, r"no camera photo\.png", {"photo.png": endless}),
    Bad("image: a circle of links", DETECT, "a link to nothing", {"photo.png": link("photo.png")}),
    Bad("image: a name that no system takes", f"detect model.onnx {'a' * 5000} --json out.json", "does not exist", {}),
    Bad("image: a folder of bombs", "detect model.onnx photos --json out.json", "none of the 2 images .*200000000",
        {"photos/a.jpg": JPEG_BOMB, "photos/b.png": BOMBS["PNG"]}),
    Bad("image: a folder of pipes", "detect model.onnx photos --json out.json", "none of the 1 images .* pipe",
        {"photos/a.jpg": pipe}),
    Bad("bench: an image that is a pipe", "bench model.onnx --image photo.png", "a device or a pipe",
        {"photo.png": pipe}),
    Bad("bench: a bomb", "bench model.onnx --image photo.png", "200000000", {"photo.png": JPEG_BOMB}),
    Bad("explain: a bomb", "explain best.pt photo.png", "200000000", {"photo.png": BOMBS["GIF"]}),
    Bad("export: images that are no folder", "export best.pt --images photo.png", "is not a folder",
        {"photo.png": pipe}),
    Bad("train: images that are bombs", "train recipe.yaml --run-dir run --set data.cache=memory", "200000000",
        {"data/train/a.png": JPEG_BOMB}),
    Bad("show: images that are bombs", "data show recipe.yaml -o sheet.png --set data.cache=memory", "200000000",
        {"data/train/a.png": BOMBS["PNG"]}),
]  # fmt: skip
