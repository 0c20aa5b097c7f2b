"""The table of imported files: what makes an upload the same one as before."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, select, text
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import Base, ScanRow


class ImportFileRow(Base):
    """The file of a scan of kind import. Until it was read to its end it has no digest, and
    `read_at` says when some of it was read last."""

    __tablename__ = "import_file"
    __table_args__ = (
        Index(
            "import_file_account_idx",
            *("account_id", "scan_id"),
            postgresql_where=text("sha256 IS NOT NULL"),
        ),
        Index("import_file_unread_idx", "read_at", postgresql_where=text("sha256 IS NULL")),
    )

    scan_id: Mapped[UUID] = mapped_column(
        ForeignKey("scan.id", ondelete="CASCADE"), primary_key=True
    )
    account_id: Mapped[UUID]
    is_complete: Mapped[bool]
    sha256: Mapped[bytes | None]
    size: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    read_at: Mapped[datetime]


BEING_READ = (
    select(ImportFileRow.scan_id)
    .where(ImportFileRow.scan_id == ScanRow.id, ImportFileRow.sha256.is_(None))
    .exists()
)
"""Of a scan: its file is not read to its end. It waits for that, and has no workflow yet."""
