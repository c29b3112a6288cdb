"""Projected features of the pictures seen last, so that a picture is encoded once.

Imports torch only. Used by the inference thread alone, so it needs no lock.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor


class FeatureCache:
    """Rows of features (R, D) by a picture's SHA-256; the least recently used leave first.

    max_bytes: what the kept features may take together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._features: OrderedDict[str, Tensor] = OrderedDict()
        self.bytes = 0

    def __contains__(self, picture_id: str) -> bool:
        return picture_id in self._features

    def get(self, picture_id: str) -> Tensor | None:
        """The features of a picture, which now count as just used; None when they are not here."""
        features = self._features.get(picture_id)
        if features is not None:
            self._features.move_to_end(picture_id)
        return features

    def put(self, picture_id: str, features: Tensor) -> None:
        """Keep `features` (R, D), which nobody may change any more."""
        if picture_id not in self._features:
            self._features[picture_id] = features
            self.bytes += features.nbytes
        while self.bytes > self._max_bytes:
            _, oldest = self._features.popitem(last=False)
            self.bytes -= oldest.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._features.clear()
        self.bytes = 0
