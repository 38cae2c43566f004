"""`save_pretrained`, `from_pretrained` and `push_to_hub` for any configurable module."""

from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import ModelHubMixin, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import nn

from mixtura.training.sharing.card import Card
from mixtura.training.sharing.folder import (
    CARD,
    CONFIG,
    WEIGHTS,
    SharingError,
    load_folder,
    save_folder,
)

__all__ = ["Shared", "load_pretrained", "save_pretrained"]

T = TypeVar("T", bound=nn.Module)


def save_pretrained(
    model: nn.Module,
    folder: str | Path,
    card: Card | str | None = None,
    *,
    repo: str | None = None,
) -> Path:
    """Write `model` as a folder that `load_pretrained` reads.

    Args:
        model: Any module whose class is `@configurable`.
        folder: Made if it is not there.
        card: The model card, or its text.
        repo: Repository (user/name) from which the card says to load it; the folder if not given.

    Raises:
        SharingError: when the folder cannot be written.
    """
    if isinstance(card, str):
        return save_folder(model, Path(folder), card)
    card = card or Card()
    text = card.text(model, repo or Path(folder).name)
    return save_folder(model, Path(folder), text, card.pictures())


def load_pretrained(
    folder_or_repo: str | Path, expected: type[T] = nn.Module, *, revision: str | None = None
) -> T:
    """The model of a folder, or of a repository of the hub, in eval mode.

    Args:
        folder_or_repo: A folder works without a network.
        expected: Class that it must be of.
        revision: Branch, tag or commit of the repository.

    Raises:
        SharingError: when it is missing, altered or something else.
    """
    place = Path(folder_or_repo)
    if not place.is_dir():
        place = _download(str(folder_or_repo), revision)
    return load_folder(place, expected)


class Shared(ModelHubMixin, library_name="mixtura", tags=["mixture-of-experts"]):
    """Mixin of a configurable `nn.Module`: a folder or a repository of the hub, and back.

    The folder holds the configuration tree, the weights as safetensors and a model card. Loading
    checks the keys, the class, the sizes and the SHA-256, and never reads a pickle.
    """

    def save_pretrained(
        self, save_directory: str | Path, card: Card | str | None = None, **_: Any
    ) -> Path:
        """Write the folder.

        Args:
            save_directory: Made if it is not there.
            card: The model card, or its text.
        """
        assert isinstance(self, nn.Module)
        kept, repo = getattr(self, "_pushed", (None, None))
        return save_pretrained(self, save_directory, card if card is not None else kept, repo=repo)

    @classmethod
    def from_pretrained(cls, folder_or_repo: str | Path, *, revision: str | None = None) -> Any:
        """The model of a folder or repository; a subclass of this class is accepted.

        Args:
            folder_or_repo: A folder works without a network.
            revision: Branch, tag or commit of the repository.
        """
        return load_pretrained(folder_or_repo, cls, revision=revision)  # pyright: ignore[reportArgumentType]

    def push_to_hub(self, repo_id: str, card: Card | str | None = None, **options: Any) -> str:
        """Upload the folder as a repository of the hub.

        Args:
            repo_id: As `user/name`.
            card: The model card, or its text.
            **options: Those of `huggingface_hub.ModelHubMixin.push_to_hub`.

        Raises:
            SharingError: when the hub cannot be reached or refuses.
        """
        self._pushed = (card, repo_id)
        try:
            return str(super().push_to_hub(repo_id, **options))
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise SharingError(
                f"could not push to {repo_id!r}: {_line(error)}; check the name, the network and "
                "that you are logged in (`hf auth login`)"
            ) from error
        finally:
            del self._pushed


def _download(repository: str, revision: str | None) -> Path:
    try:
        patterns = [CONFIG, WEIGHTS, CARD]
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except HFValidationError as error:
        raise SharingError(
            f"there is no folder {repository!r} here, and it is no name of a repository (user/name)"
        ) from error
    except LocalEntryNotFoundError as error:
        raise SharingError(
            f"there is no folder {repository!r} here, and the hub cannot be reached; "
            "give a folder that exists, or check the network"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise SharingError(
            f"there is no folder {repository!r} here, and the hub says: {_line(error)}"
        ) from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
