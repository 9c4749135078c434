"""Upload of a published folder to Hugging Face."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError

from augment_store.errors import AugmentStoreError


def push(folder: Path, repo: str, kind: Literal["model", "dataset"]) -> str:
    """Upload a folder and return the address of the commit.

    Args:
        folder: A complete folder with its card.
        repo: Repository as owner/name; created as private if it does not exist.
        kind: What the repository holds.

    Raises:
        AugmentStoreError: If the upload fails.
    """
    # without a network the client raises its HTTP library's own errors, and that library differs between versions
    offline = HfHubHTTPError.__bases__[0]
    api, message = huggingface_hub.HfApi(), f"Publish {folder.name} with its card"
    try:
        api.create_repo(repo_id=repo, repo_type=kind, exist_ok=True, private=True)
        done = api.upload_folder(
            repo_id=repo, repo_type=kind, folder_path=str(folder), commit_message=message
        )
    except (offline, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AugmentStoreError(
            f"{repo}: not uploaded ({reason}); the folder is complete in {folder}. Log in with hf auth login, run "
            "again with another --out, or upload it with hf upload"
        ) from error
    return str(done.commit_url)
