"""stoker's Loader over a folder of photographs or a store of them."""

from __future__ import annotations

import argparse

from peers.protocol import Channel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("batch_size", type=int)
    parser.add_argument("num_workers", type=int)
    parser.add_argument("--executor", default="process")
    parser.add_argument("--plain", action="store_true", help="resize without antialiasing")
    arguments = parser.parse_args()
    channel = Channel()
    import stoker
    from stoker.image import Pipeline, RandomHorizontalFlip, RandomResizedCrop

    pipeline = Pipeline(RandomResizedCrop(224, antialias=not arguments.plain), RandomHorizontalFlip())
    loader = stoker.Loader(
        stoker.open(arguments.path).map(image=pipeline),
        arguments.batch_size,
        shuffle=True,
        num_workers=arguments.num_workers,
        persistent_workers=True,
        drop_last=True,
        executor=arguments.executor,
        seed=0,
    )
    channel.serve(lambda: loader)


if __name__ == "__main__":
    main()
