"""kdjax export, predict and sizes: files of students."""

import sys


def add(command) -> None:
    sub = command("export", _export, "write the student of a finished run to a file")
    sub.add_argument("run", help="the directory of a run, runs/digits/kd/seed0")
    sub.add_argument("target", nargs="?", default="", help="the file to write (default: digits-kd-seed0.FORMAT here)")
    sub.add_argument(
        "--format", default="", help="onnx, stablehlo, tflite or safetensors (default: as the target's name ends)"
    )
    sub = command("predict", _predict, "name the classes of images or texts by an exported model")
    sub.add_argument("model", help="an exported .onnx, .tflite, .stablehlo or .safetensors file")
    told = "JPEG and PNG files, and folders of them; of texts: texts, files with one a line, - for standard input"
    sub.add_argument("inputs", nargs="+", help=f"{told}; a tab stands between the two texts of a pair")
    sub.add_argument("--top", type=int, default=3, help="classes to print for each one (default: 3)")
    sub.add_argument("--batch-size", type=int, default=32, help="how many are predicted at once (default: 32)")
    sub.add_argument("--json", action="store_true", help="print a JSON object for each one")
    sub = command("sizes", _sizes, "export runs in float and int8, measure accuracy, bytes, FLOPs and time")
    sub.add_argument("runs", nargs="+", help="directories of finished runs; seeds of one method share a row")
    sub.add_argument("--out", help="write sizes.md and sizes.csv here")
    sub.add_argument("--images", type=int, default=256, help="training examples to calibrate int8 on (default: 256)")
    sub.add_argument("--tflite", action="store_true", help="measure files for phones too, by LiteRT")


def _export(args, _) -> None:
    from kdjax.training import parallel

    parallel.setup()
    from kdjax.ship import export, serve

    complain = lambda message: print(f"kdjax: {message}", file=sys.stderr)  # noqa: E731
    written = export.export(args.run, args.target, args.format, complain)
    accuracy = f"{100 * written['accuracy']['top1']:.2f} % on the test split of {written['dataset']}"
    if written["accuracy"]["computed_in"] != "float32":
        accuracy += f" in {written['accuracy']['computed_in']}, while this file computes in float32"
    verified, latency, noun = written["verified"], written["latency_1"], serve.of(written).noun
    one = "an image" if noun == "images" else f"a text of {written['length']} tokens"
    print(
        f"{args.target or written['weights']}: {written['model']}, {written['parameters']:,} parameters, {accuracy}; "
        f"logits differ from the network's by at most {verified['largest_difference']:.2g} ({verified[noun]}); "
        f"{latency['median_ms']:.2f} ms {one} on this CPU, one at a time"
    )


def _predict(args, _) -> int:
    if not args.model.endswith((".onnx", ".tflite")):  # what runs without JAX starts without it
        from kdjax.training import parallel

        parallel.setup()
    from kdjax.ship import predict

    return predict.main(args)


def _sizes(args, _) -> None:
    from kdjax.training import parallel

    parallel.setup()
    from kdjax.ship import sizes

    sizes.main(args)
