"""The one long table of measurements: its columns, its key and its encodings."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from llc_lightning.results.quantities import QUANTITIES
from llc_lightning.runtime import status as statuses
from llc_lightning.runtime.errors import SettingError, unknown

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 3
KEY = ("run", "step", "quantity", "component", "method", "loss", "params_moved", "weights", "revision", "settings")
"""Two rows that agree on these columns are the same measurement."""

Weights: TypeAlias = Literal["raw", "averaged"]
RAW: Weights = "raw"
"""The weights that the optimizer trains."""

ADDED: Mapping[str, int] = {"revision": 2, "replicate": 3, "unit": 3, "weights": 3}
"""The schema version that brought a column; rows of older versions have its default, replicates what details say."""

COMMON = "settings_of_all_methods"
"""In the details of an ablation: ``settings`` without the revision of its method, alike for what can be compared."""

NAN = float("nan")
_REPLICATE = re.compile(r'"replicate":\s*(\d+)')


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured value with its error and status.

    Raises:
        SettingError: If the quantity or the status is unknown, if a failed row has a value, or another row has none.
    """

    run: str
    """Path of the run below ``checkpoints/``."""
    seed: int
    """Seed of the run."""
    step: int
    """Optimizer updates done."""
    epoch: int
    """Number of the epoch in progress, from 0."""
    quantity: str
    """A name from ``QUANTITIES``."""
    value: float
    """NaN if and only if the status is a failed one."""
    stderr: float = NAN
    """Standard error of the value; NaN where it cannot be known."""
    unit: str = ""
    """What the value is counted in; '' for what the quantity's registered unit says."""
    status: str = statuses.OK
    """``ok``, or the reasons against the value; see ``runtime.status``."""
    component: str = ""
    """Address of the component; '' for the whole network."""
    kind: str = ""
    """Level of the component: ``all``, ``layer``, ``neuron``, ..."""
    method: str = ""
    """How the component was ablated; '' if it was not."""
    loss: str = "train"
    """Which loss: ``train``, ``circuit:07``, ``task:mnist``, ``metric:kl``."""
    params_moved: str = ""
    """Which weights the chains moved: ``all``, an address, ``all-ADDRESS``; '' without chains."""
    settings: str = ""
    """``settings_hash`` of the job's configuration."""
    replicate: int = 0
    """Number of the set of random streams: above 0 where the same was measured again with others."""
    chains: int = 0
    """Chains that the value is the mean of."""
    draws: int = 0
    """Kept draws per chain."""
    rhat: float = NAN
    """Rank-normalised split R-hat."""
    ess: float = NAN
    """Effective sample size."""
    n_beta: float = NAN
    """Inverse temperature times number of examples."""
    gamma: float = NAN
    """Localisation strength."""
    step_size: float = NAN
    """Step size of the sampler."""
    n_examples: int = 0
    """Examples that the value was measured on."""
    details: str = "{}"
    """Further facts as a JSON object; see ``encode_details``."""
    revision: int = 1
    """Of what made the row: raised whenever its values, errors or statuses change."""
    weights: str = RAW
    """``raw``, the weights that the optimizer trains; or ``averaged``, those that a callback (EMA, SWA) leaves in the
    module when training ends."""
    schema_version: int = SCHEMA_VERSION
    """Version of this layout."""

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise SettingError(unknown("quantity", self.quantity, QUANTITIES))
        if statuses.is_failed(self.status) != math.isnan(self.value) or math.isinf(self.value):
            raise SettingError(
                f"a row of {self.quantity} at step {self.step} has value {self.value} and status {self.status!r}; the "
                "value must be NaN if the status is a failed one, and finite if it is not."
            )

    @property
    def key(self) -> tuple[str | int, ...]:
        """What makes the row unique: its values of the columns in ``KEY``."""
        return tuple(getattr(self, name) for name in KEY)


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Row))
"""The columns of the table, in order."""


def encode_details(record: Mapping[str, object]) -> str:
    """Returns the record as a JSON object with sorted keys; NaN and infinities, which JSON lacks, become null.

    Raises:
        SettingError: If a value is not a string, number, boolean, None, list, tuple or mapping of such.

    Example:
        >>> encode_details({"replicate": 0, "per_chain": [1.5, float("nan")]})
        '{"per_chain":[1.5,null],"replicate":0}'
    """
    return _canonical_json(record, whole_floats_as_ints=False)


def decode_details(details: str) -> dict[str, Any]:
    """Returns the record that ``encode_details`` wrote; None stands for NaN and infinities.

    Raises:
        SettingError: If the text is not a JSON object.
    """
    try:
        record = json.loads(details)
    except json.JSONDecodeError:
        record = None
    if not isinstance(record, dict):
        raise SettingError(f"the details {details[:80]!r} are not a JSON object; write them with encode_details.")
    return cast("dict[str, Any]", record)


def settings_hash(config: Mapping[str, object]) -> str:
    """Returns 16 hexadecimal digits that name a configuration: the BLAKE2b digest of its canonical JSON.

    The order of keys does not matter, nor whether a whole number is written as an int or a float.

    Raises:
        SettingError: If a value is not a string, number, boolean, None, list, tuple or mapping of such.

    Example:
        >>> settings_hash({"n_beta": 1000, "gamma": 1.0}) == settings_hash({"gamma": 1, "n_beta": 1e3})
        True
    """
    text = _canonical_json(config, whole_floats_as_ints=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def arrow_schema() -> "pa.Schema":
    """Returns the columns as an Arrow schema: text, 64-bit integers and floats, none of them nullable."""
    import pyarrow as pa

    types: dict[object, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    columns = [pa.field(field.name, types[field.type], nullable=False) for field in fields(Row)]
    return pa.schema(columns, metadata={"llc_lightning_schema": str(SCHEMA_VERSION)})


def completed(table: "pa.Table", version: int) -> "pa.Table":
    """Returns a table of an older schema version with the columns that came later, at their defaults.

    Args:
        table: The table.
        version: Its schema version.
    """
    import pyarrow as pa

    for name, since in ADDED.items():
        if name not in table.column_names and 1 <= version < since:
            values: Any = _replicates(table) if name == "replicate" else [getattr(Row, name)] * len(table)
            table = table.append_column(
                name, pa.array(values, pa.string() if name in ("unit", "weights") else pa.int64())
            )
    return table


def _replicates(table: "pa.Table") -> list[int]:
    """Returns the replicates of rows that keep theirs in the details, as those of version 2 do."""
    told = (_REPLICATE.search(str(text)) for text in table.column("details").to_pylist())
    return [int(found[1]) if found else 0 for found in told]


def to_table(rows: Iterable[Row]) -> "pa.Table":
    """Returns the rows as an Arrow table sorted by key, so that equal rows give equal tables.

    Raises:
        SettingError: If two rows have the same key.
    """
    import pyarrow as pa

    ordered = sorted(rows, key=lambda row: row.key)
    for one, other in pairwise(ordered):
        if one.key == other.key:
            told = ", ".join(f"{name}={value!r}" for name, value in zip(KEY, one.key, strict=True))
            raise SettingError(f"two rows have the same key ({told}); give the jobs different settings.")
    return pa.Table.from_pylist([vars(row) for row in ordered], schema=arrow_schema())


def _canonical_json(value: object, *, whole_floats_as_ints: bool) -> str:
    told = plain(value, whole_floats_as_ints=whole_floats_as_ints)
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def plain(value: object, *, whole_floats_as_ints: bool = False) -> object:
    """Returns nested values as JSON knows them: dicts, lists, text, finite numbers, booleans and None.

    Raises:
        SettingError: If a value is none of these.

    Example:
        >>> plain({"a": (1.0, float("nan"))})
        {'a': [1.0, None]}
    """
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {str(key): plain(member, whole_floats_as_ints=whole_floats_as_ints) for key, member in items}
    if isinstance(value, list | tuple):
        members = cast("Sequence[object]", value)
        return [plain(member, whole_floats_as_ints=whole_floats_as_ints) for member in members]
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        if not math.isfinite(number):
            return None
        return int(number) if whole_floats_as_ints and number.is_integer() else number
    raise SettingError(
        f"cannot write {value!r} of type {type(value).__name__} as JSON; give text, numbers, booleans, None, lists or "
        "dicts."
    )
