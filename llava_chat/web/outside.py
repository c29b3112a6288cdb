"""What survives a restart of the server, as far as its page and its ending have to know.

Imports the dataset that feedback is pushed to, the store, settings and errors.
"""

from __future__ import annotations

from llava_chat.errors import StoreError
from llava_chat.feedback.dataset import FeedbackDataset, loss_without_dataset
from llava_chat.settings import Settings, on_space
from llava_chat.store import ConversationStore


class Outside:
    """The dataset of a server, or that there is none. loss: what to say where there is none."""

    def __init__(self, dataset: FeedbackDataset | None = None, loss: str | None = None) -> None:
        self._dataset = dataset
        self._loss = loss

    @classmethod
    def of(cls, settings: Settings, store: ConversationStore) -> Outside:
        """As the settings say; the dataset is begun."""
        if settings.feedback_dataset is None:
            own_disk = on_space() and settings.database_url is None
            return cls(loss=loss_without_dataset() if own_disk else None)
        dataset = FeedbackDataset(
            store,
            settings.feedback_dataset,
            settings.feedback_push_minutes,
            settings.data_dir.resolve() / "dataset",
            restart="this Space restarts" if on_space() else "this server loses its disk",
        )
        dataset.start()
        return cls(dataset)

    @property
    def loss(self) -> str | None:
        """What may be lost, for people to read before they rely on it; None where nothing is."""
        return self._loss if self._dataset is None else self._dataset.loss

    def check_read_in(self) -> None:
        """Raise StoreError while what people said earlier is not here to be deleted."""
        if self._dataset is not None and not self._dataset.read_in:
            raise StoreError(
                "Not deleted: what was said before the server's last start is still being read in, "
                "and would be back then. Try again in a minute."
            )

    def forgotten(self) -> None:
        """Have what was deleted or taken back leave the dataset at once."""
        if self._dataset is not None:
            self._dataset.push_soon()

    def close(self, limit_s: float) -> bool:
        """Push for the last time; whether nothing is still going on after so many seconds."""
        return self._dataset is None or self._dataset.close(limit_s)
