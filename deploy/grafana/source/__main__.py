"""`python -m deploy.grafana.source`, from the repository's root, writes deploy/grafana/dashboards."""

from __future__ import annotations

from pathlib import Path

from deploy.grafana.source.boards import boards

FOLDER = Path(__file__).parents[1] / "dashboards"

if __name__ == "__main__":
    for name, text in boards().items():
        (FOLDER / name).write_text(text, "utf-8")
