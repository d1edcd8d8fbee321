"""Serializable snapshot isolation, as PostgreSQL does it (Cahill 2008; Ports and Grittner 2012).

The rules and their order follow PostgreSQL's predicate.c: reads leave SIREAD locks on versions,
index pages and tables; a write that meets one, or a read that passes over a concurrent write, is a
rw-antidependency; a transaction is stopped when two of them in a row could close a cycle and the
last of the three committed first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import read_write_dependencies

if TYPE_CHECKING:
    from .engine import Engine
    from .storage import Index, Key, Row, Table, Version
    from .transactions import Transaction

PAGE_ENTRIES = 300
"""Up to so many keys an index is one leaf page, whose SIREAD lock every insert meets. (A page of 8 kB
takes about 366 entries of a bigint key at the usual fill.) Larger indexes are locked by key and range."""


class Serializable:
    """What SSI knows about one serializable transaction (PostgreSQL's SERIALIZABLEXACT)."""

    __slots__ = (
        "aborted",
        "commit_seq",
        "conflict_out",
        "doomed",
        "earliest_out",
        "ins",
        "last_before",
        "outs",
        "read_only",
        "reads",
        "snapshot",
        "wrote",
    )

    def __init__(self, snapshot: int, last_before: int, read_only: bool) -> None:
        self.snapshot = snapshot
        self.last_before = last_before  # the last serializable commit before the snapshot
        self.read_only = read_only
        self.wrote = False
        self.doomed = False
        self.aborted = False
        self.commit_seq = 0  # order among serializable commits; 0 while running
        self.conflict_out = False
        self.earliest_out = 0
        self.ins: Transactions = {}  # readers of what this one wrote
        self.outs: Transactions = {}  # writers of what this one read
        self.reads: list[Transactions] = []


Transactions = dict[Serializable, object]


class Ssi:
    """The conflict graph of one database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.active: Transactions = {}
        self.finished: list[tuple[int, Serializable]] = []  # (snapshot number at commit, transaction)
        self.commits = 0

    def begin(self, tx: Transaction, snapshot: int) -> None:
        """The transaction takes its snapshot."""
        if tx.read_only and all(other.read_only for other in self.active):
            return  # a safe snapshot: nothing that can write is running
        tx.ssi = Serializable(snapshot, self.commits, tx.read_only)
        self.active[tx.ssi] = None

    # -- reads ---------------------------------------------------------------------------------

    def read_table(self, me: Serializable, table: Table) -> None:
        """A sequential scan locks the table."""
        self._lock(me, table.readers)

    def read_keys(self, me: Serializable, index: Index, keys: list[Key]) -> None:
        """An index lookup locks the page, or in a large index the keys."""
        held = index.readers.get(me)
        if held is True:
            return
        if len(index.entries) <= PAGE_ENTRIES:
            self._lock(me, index.readers, True)
            return
        self._lock(me, index.readers, [*(held if isinstance(held, list) else []), set(keys)])

    def read_range(self, me: Serializable, index: Index, low: object, high: object) -> None:
        """A range scan locks the page, or in a large index the range of first columns."""
        held = index.readers.get(me)
        if held is True:
            return
        if len(index.entries) <= PAGE_ENTRIES:
            self._lock(me, index.readers, True)
            return
        self._lock(me, index.readers, [*(held if isinstance(held, list) else []), (low, high)])

    def _lock(self, me: Serializable, readers: Transactions, what: object = None) -> None:
        if me not in readers:
            me.reads.append(readers)
        readers[me] = what

    def read_row(self, me: Serializable, row: Row, visible: Version | None, whole: bool) -> None:
        """The scan examined a row: lock the version it sees, note the writers it passed over.

        An index scan stops at the version it sees, so it meets only that version's successor; a
        sequential scan (`whole`) meets every tuple.
        """
        if me.doomed:
            raise read_write_dependencies("identification as a pivot, during conflict out checking")
        if visible is not None and not whole:
            readers = visible.readers
            if readers is None:
                readers = visible.readers = {}
            self._lock(me, readers)
        if row.pending is None and row.current is visible:
            return
        for version in self._passed_over(row, visible, whole):
            writer = version.tx.ssi if version.tx is not None else None
            if writer is not None and writer is not me:
                self._conflict_out(me, writer)

    @staticmethod
    def _passed_over(row: Row, visible: Version | None, whole: bool) -> list[Version]:
        """The versions newer than the visible one whose writers the scan meets, oldest first."""
        newer = []
        version = row.pending or row.current
        while version is not None and version is not visible:
            newer.append(version)
            version = version.older
        newer.reverse()
        if visible is not None and not whole:
            return newer[:1]
        first = newer[:1] if visible is not None else []
        return first + [version for version in newer[len(first) :] if not version.deleted]

    def _conflict_out(self, me: Serializable, writer: Serializable) -> None:
        if writer.doomed or writer.aborted:
            return
        if (
            me.read_only
            and writer.commit_seq
            and not (writer.conflict_out and writer.earliest_out <= me.last_before)
        ):
            return
        if writer.commit_seq and writer.commit_seq <= me.last_before:
            return
        self._conflict(me, writer, me)

    # -- writes --------------------------------------------------------------------------------

    def write_version(self, me: Serializable, table: Table, version: Version) -> None:
        """An update or delete replaces `version`."""
        self._about_to_write(me)
        if version.readers:
            self._meet(me, version.readers)
            version.readers.pop(me, None)
        self._meet(me, table.readers)

    def insert(self, me: Serializable, table: Table) -> None:
        """A new row enters the table."""
        self._about_to_write(me)
        self._meet(me, table.readers)

    def enter_key(self, me: Serializable, index: Index, key: Key) -> None:
        """A key enters an index, or would if it were not there already."""
        self._about_to_write(me)
        for reader, held in list(index.readers.items()):
            if held is True or (isinstance(held, list) and any(_covers(part, key) for part in held)):
                self._meet(me, {reader: None})

    def _about_to_write(self, me: Serializable) -> None:
        if me.doomed:
            raise read_write_dependencies("identification as a pivot, during conflict in checking")
        me.wrote = True

    def _meet(self, me: Serializable, readers: Transactions) -> None:
        for reader in list(readers):
            if reader is me or reader.doomed or reader.aborted:
                continue
            if reader.commit_seq and reader.commit_seq <= me.last_before:
                continue
            self._conflict(reader, me, me)

    # -- the graph -----------------------------------------------------------------------------

    def _conflict(self, reader: Serializable, writer: Serializable, me: Serializable) -> None:
        """reader -rw-> writer: check for danger, then remember it (FlagRWConflict)."""
        if writer in reader.outs:
            return
        if self._dangerous(reader, writer):
            if me is writer:
                raise read_write_dependencies("identification as a pivot, during write")
            if writer.commit_seq:
                raise read_write_dependencies("conflict out to pivot, during read")
            writer.doomed = True
        reader.outs[writer] = None
        writer.ins[reader] = None

    @staticmethod
    def _dangerous(reader: Serializable, writer: Serializable) -> bool:
        """OnConflict_CheckForSerializationFailure: T0 -rw-> T1 -rw-> T2 with T2 the first to commit."""
        if writer.commit_seq and writer.conflict_out:
            return True
        for last in writer.outs:
            if (
                last.commit_seq
                and (not reader.commit_seq or last.commit_seq <= reader.commit_seq)
                and (not writer.commit_seq or last.commit_seq <= writer.commit_seq)
                and (not reader.read_only or last.commit_seq <= reader.last_before)
            ):
                return True
        if writer.commit_seq and not reader.read_only:
            for first in reader.ins:
                if (
                    not first.doomed
                    and (not first.commit_seq or first.commit_seq >= writer.commit_seq)
                    and (not first.read_only or first.last_before >= writer.commit_seq)
                ):
                    return True
        return False

    # -- the end -------------------------------------------------------------------------------

    def before_commit(self, me: Serializable) -> None:
        """PreCommit_CheckForSerializationFailure: stop this transaction, or doom a pivot before it."""
        if me.doomed:
            raise read_write_dependencies("identification as a pivot, during commit attempt")
        for near in me.ins:
            if near.commit_seq or near.doomed:
                continue
            for far in near.ins:
                if far is me or not (far.commit_seq or far.read_only or far.doomed):
                    near.doomed = True
                    break
        self.commits += 1
        me.commit_seq = self.commits

    def committed(self, me: Serializable) -> None:
        """Keep what later transactions may still need."""
        del self.active[me]
        if not me.wrote:
            me.read_only = True
        for writer in list(me.outs):
            if writer.commit_seq:
                if not me.read_only:
                    me.earliest_out = min(me.earliest_out or writer.commit_seq, writer.commit_seq)
                    me.conflict_out = True
                self._drop(me, writer)
        for reader in list(me.ins):
            if reader.commit_seq or reader.read_only:
                self._drop(reader, me)
        self.finished.append((self.commits, me))
        self._clean()

    def aborted(self, me: Serializable) -> None:
        """Forget everything about the transaction."""
        me.aborted = True
        self.active.pop(me, None)
        self._forget(me)
        self._clean()

    @staticmethod
    def _drop(reader: Serializable, writer: Serializable) -> None:
        reader.outs.pop(writer, None)
        writer.ins.pop(reader, None)

    def _forget(self, me: Serializable) -> None:
        for writer in list(me.outs):
            self._drop(me, writer)
        for reader in list(me.ins):
            self._drop(reader, me)
        for readers in me.reads:
            readers.pop(me, None)
        me.reads.clear()

    def _clean(self) -> None:
        """Drop committed transactions that overlap with no running one."""
        oldest = min((other.last_before for other in self.active), default=self.commits)
        kept = 0
        for at, finished in self.finished:
            if at > oldest:
                break
            self._forget(finished)
            kept += 1
        if kept:
            del self.finished[:kept]


def _covers(part: object, key: Key) -> bool:
    if isinstance(part, set):
        return key in part
    if isinstance(part, tuple):
        low, high = part
        return (low is None or key[0] >= low) and (high is None or key[0] <= high)
    return False
