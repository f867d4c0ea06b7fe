"""The interests in one pattern of event names: a table for each shape, in it a row for the texts that a rule wants."""

from collections.abc import Mapping, Sequence

from tocsin.automations.buckets import Entry, Held, Left, Rows, file, take_out
from tocsin.automations.pivots import FindOne, Finds, FindSeveral, Pivots
from tocsin.automations.shapes import Facet, Place, Row, Shape, own_row, related_row
from tocsin.events.model import Event


class Table:
    """The rows of a shape of which an event has one."""

    __slots__ = ("_rows", "finds")

    def __init__(self, shape: Shape) -> None:
        self._rows: Rows = {}
        self.finds = Finds((_find_one(shape, self._rows),), ())

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, place: Place, entry: Entry, left: Left) -> None:
        """File an entry that is not in this place yet."""
        file(self._rows, place.own, entry, left)

    def drop(self, place: Place, entry: Entry, left: Left) -> None:
        """Take out what `put` with the same arguments filed."""
        take_out(self._rows, place.own, entry, left)


class LabelTable:
    """The rows of one label of the event itself, and of its first characters by how many."""

    __slots__ = ("_rows", "finds")

    def __init__(self, shape: Shape) -> None:
        self._rows: dict[int | None, Rows] = {}
        self.finds = Finds((), (_find_lengths(shape.own[0].path[0], self._rows),))

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, place: Place, entry: Entry, left: Left) -> None:
        """File an entry that is not in this place yet."""
        file(self._rows.setdefault(place.shape.own[0].length, {}), place.own, entry, left)

    def drop(self, place: Place, entry: Entry, left: Left) -> None:
        """Take out what `put` with the same arguments filed."""
        length = place.shape.own[0].length
        take_out(self._rows[length], place.own, entry, left)
        if not self._rows[length]:
            del self._rows[length]


class RelatedTable:
    """The rows of a shape of which each related resource has one, those for one row of the event itself together."""

    __slots__ = ("_groups", "finds")

    def __init__(self, shape: Shape) -> None:
        self._groups: dict[Row, Rows] = {}
        self.finds = Finds((), (_find_several(shape, self._groups),))

    def __len__(self) -> int:
        return len(self._groups)

    def put(self, place: Place, entry: Entry, left: Left) -> None:
        """File an entry that is not in this place yet."""
        file(self._groups.setdefault(place.own, {}), place.related, entry, left)

    def drop(self, place: Place, entry: Entry, left: Left) -> None:
        """Take out what `put` with the same arguments filed."""
        rows = self._groups[place.own]
        take_out(rows, place.related, entry, left)
        if not rows:
            del self._groups[place.own]


def _find_one(shape: Shape, rows: Rows) -> FindOne:
    get, own = rows.get, own_row(shape.own)
    return lambda event: get(own(event))


def _find_lengths(label: str, by_length: Mapping[int | None, Rows]) -> FindSeveral:
    def find(event: Event) -> Sequence[Held]:
        text = event.resource.get(label)
        if text is None:
            return ()
        found = []
        for length, rows in by_length.items():
            held = rows.get(text[:length])
            if held is not None:
                found.append(held)
        return found

    return find


def _find_several(shape: Shape, groups: Mapping[Row, Rows]) -> FindSeveral:
    own, theirs = own_row(shape.own), related_row(shape.related)

    def find(event: Event) -> Sequence[Held]:
        rows = groups.get(own(event))
        if rows is None:
            return ()
        found = []
        for labels in event.related:
            held = rows.get(theirs(labels))
            if held is not None:
                found.append(held)
        return found

    return find


class Shelf:
    """Tables by shape; lengths of one label alone share a table."""

    __slots__ = ("_pivots", "_tables", "finds")

    def __init__(self) -> None:
        self._tables: dict[Shape, Table | LabelTable | RelatedTable] = {}
        self._pivots = Pivots()
        self.finds = self._pivots.carried

    def __len__(self) -> int:
        return len(self._tables)

    def put(self, place: Place, entry: Entry, left: Left) -> None:
        """File an entry that is not in this place yet."""
        shape, kind = _table_of(place.shape)
        table = self._tables.get(shape)
        if table is None:
            table = self._tables[shape] = kind(shape)
            self._pivots.put(shape, table.finds)
        table.put(place, entry, left)

    def drop(self, place: Place, entry: Entry, left: Left) -> None:
        """Take out what `put` with the same arguments filed."""
        shape, _ = _table_of(place.shape)
        table = self._tables[shape]
        table.drop(place, entry, left)
        if not len(table):
            del self._tables[shape]
            self._pivots.drop(shape)


def _table_of(shape: Shape) -> tuple[Shape, type[Table | LabelTable | RelatedTable]]:
    """The shape of the table that a shape is in, and its kind."""
    match shape:
        case Shape((Facet("label", path),), ()):
            return Shape((Facet("label", path),), ()), LabelTable
        case Shape(_, ()):
            return shape, Table
        case _:
            return shape, RelatedTable
