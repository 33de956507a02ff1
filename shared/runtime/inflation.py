"""A compressed batch may unpack to a thousand times what the broker let through: it is looked at before."""

from typing import Final

import cramjam
from aiokafka.errors import CorruptRecordException

MOST_BYTES: Final = 64 * 1024 * 1024  # of a batch, unpacked; the broker's limit holds for what it is packed
_ATTRIBUTES_AT: Final = 22  # of a batch: the lower of two bytes, whose last three bits name the codec
_RECORDS_AT: Final = 61
_UNPACK: Final = {  # snappy (2) is left to itself: it packs to a twentieth at the very most
    1: cramjam.gzip.decompress_into,
    3: cramjam.lz4.decompress_into,
    4: cramjam.zstd.decompress_into,
}


def check(batch: memoryview) -> None:
    """Raises CorruptRecordException for a batch that unpacks to more than MOST_BYTES, or not at all."""
    unpack = _UNPACK.get(batch[_ATTRIBUTES_AT] & 7)
    if unpack is None:
        return
    try:
        unpack(bytes(batch[_RECORDS_AT:]), bytearray(MOST_BYTES))  # pages that are not written to cost nothing
    except cramjam.DecompressionError as failure:
        raise CorruptRecordException(
            f"a compressed batch is corrupt, or unpacks to more than {MOST_BYTES} bytes: {failure}"
        ) from failure
