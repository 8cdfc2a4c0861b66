"""kdjax export, predict, embed and sizes: files of students."""

import sys


def add(command) -> None:
    sub = command("export", _export, "write the student of a finished run to a file")
    sub.add_argument("run", help="the directory of a run, runs/digits/kd/seed0")
    sub.add_argument("target", nargs="?", default="", help="the file to write (default: digits-kd-seed0.FORMAT here)")
    sub.add_argument(
        "--format", default="", help="onnx, stablehlo, tflite or safetensors (default: as the target's name ends)"
    )
    sub.add_argument("--catalogue", default="", help="write the embeddings of documents or items to this .npz, too")
    sub.add_argument("--dtype", default="float32", help="of the catalogue: float32 or int8 (default: float32)")
    sub = command("predict", _predict, "name the classes of images or texts, or rank, by an exported model")
    sub.add_argument("model", help="an exported .onnx, .tflite, .stablehlo or .safetensors file")
    told = "JPEG and PNG files, and folders of them; of texts: texts, files with one a line, - for standard input"
    sub.add_argument("inputs", nargs="+", help=f"{told}; a tab stands between the two texts of a pair")
    sub.add_argument("--top", type=int, default=3, help="classes to print for each one (default: 3)")
    sub.add_argument("--batch-size", type=int, default=32, help="how many are predicted at once (default: 32)")
    sub.add_argument("--json", action="store_true", help="print a JSON object for each one")
    sub.add_argument("--catalogue", default="", help="what an encoder searches, a .npz of export --catalogue or embed")
    sub = command("embed", _embed, "write the embeddings of texts or images, which predict searches, to a file")
    sub.add_argument("model", help="an exported encoder; of two towers that of the documents")
    sub.add_argument("catalogue", help="the .npz file to write")
    sub.add_argument("inputs", nargs="+", help="as those of predict; of a text its id may stand before it, and a tab")
    sub.add_argument("--dtype", default="float32", help="float32 or int8 (default: float32)")
    sub.add_argument("--batch-size", type=int, default=32, help="how many are embedded at once (default: 32)")
    sub = command("sizes", _sizes, "export runs in float and int8, measure accuracy, bytes, FLOPs and time")
    sub.add_argument("runs", nargs="+", help="directories of finished runs; seeds of one method share a row")
    sub.add_argument("--out", help="write sizes.md and sizes.csv here")
    sub.add_argument("--images", type=int, default=256, help="training examples to calibrate int8 on (default: 256)")
    sub.add_argument("--tflite", action="store_true", help="measure files for phones too, by LiteRT")


def _export(args, _) -> None:
    from kdjax.training import parallel

    parallel.setup()
    from kdjax.ship import export

    complain = lambda message: print(f"kdjax: {message}", file=sys.stderr)  # noqa: E731
    written = export.export(args.run, args.target, args.format, complain, args.catalogue, args.dtype)
    print(f"{args.target or written['weights']}: {export.told(written)}")
    if args.catalogue:
        print(f"{args.catalogue}: {export.told_catalogue(written)}")


def _predict(args, _) -> int:
    _ready(args.model)
    from kdjax.ship import predict

    return predict.main(args)


def _embed(args, _) -> None:
    _ready(args.model)
    from kdjax.ship import embed

    embed.main(args)


def _ready(model: str) -> None:
    """Prepares JAX for a file that needs it: what runs without JAX starts without it."""
    if not model.endswith((".onnx", ".tflite")):
        from kdjax.training import parallel

        parallel.setup()


def _sizes(args, _) -> None:
    from kdjax.training import parallel

    parallel.setup()
    from kdjax.ship import sizes

    sizes.main(args)
