"""NVIDIA DALI on the CPU: regions decoded by `decoders.image_random_crop`.

Linear resize without antialiasing, images [rows, 224, 224, 3].
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from peers.protocol import Channel

AHEAD = 2  # batches in the making, DALI's default


def main(folder: str, batch_size: int, num_threads: int) -> None:
    channel = Channel()
    pipe = pipeline(folder, batch_size, num_threads)
    channel.serve(Epochs(pipe, pipe.epoch_size("Reader") // batch_size))


def pipeline(folder: str, batch_size: int, num_threads: int) -> Any:
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(  # type: ignore[untyped-decorator, unused-ignore]
        batch_size=batch_size, num_threads=num_threads, device_id=None, prefetch_queue_depth=AHEAD, seed=0
    )
    def photographs() -> Any:
        data, labels = fn.readers.file(file_root=folder, shuffle_after_epoch=True, name="Reader")
        images = fn.decoders.image_random_crop(
            data,
            device="cpu",
            output_type=types.RGB,
            random_area=[0.08, 1.0],
            random_aspect_ratio=[3 / 4, 4 / 3],
            num_attempts=10,
        )
        images = fn.resize(images, size=[224, 224], interp_type=types.INTERP_LINEAR, antialias=False)
        return fn.flip(images, horizontal=fn.random.coin_flip(probability=0.5)), labels

    pipe = photographs()
    pipe.build()
    return pipe


class Epochs:
    """Epochs of as many batches as there are. DALI's own iterators begin the next epoch at once; here its queue ends empty."""

    def __init__(self, pipe: Any, batches: int) -> None:
        self.pipe = pipe
        self.batches = batches
        self._to_schedule = 1  # the very first call fills the queue, each later one adds a batch

    def __call__(self) -> Iterator[Any]:
        for _ in range(self._to_schedule):
            self.pipe.schedule_run()
        self._to_schedule = AHEAD
        for step in range(self.batches):
            yield self.pipe.share_outputs()
            self.pipe.release_outputs()
            if step + AHEAD < self.batches:
                self.pipe.schedule_run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
