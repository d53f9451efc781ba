"""tf.data: crops decoded by `decode_and_crop_jpeg`, as TensorFlow's own ResNet does it, parallelism left to AUTOTUNE.

Linear resize without antialiasing, images [rows, 224, 224, 3].
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from peers.protocol import Channel


def main(folder: str, batch_size: int, num_threads: int) -> None:
    channel = Channel()
    import tensorflow as tf

    paths = sorted(map(str, Path(folder).glob("*/*")))
    classes = sorted({Path(path).parent.name for path in paths})
    labels = [classes.index(Path(path).parent.name) for path in paths]
    options = tf.data.Options()
    options.threading.private_threadpool_size = num_threads
    options.threading.max_intra_op_parallelism = 1
    dataset = (
        tf.data.Dataset.from_tensor_slices((paths, labels))
        .shuffle(len(paths))
        .take(len(paths) // batch_size * batch_size)  # what drop_remainder drops would be decoded first
        .map(lambda path, label: (crop_of(tf, path), label), num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )
    channel.serve(lambda: dataset)


def crop_of(tf: Any, path: Any) -> Any:
    """A random crop of the photograph, uint8 [224, 224, 3]. Only what it covers is transformed back and coloured."""
    data = tf.io.read_file(path)
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        tf.image.extract_jpeg_shape(data),
        tf.zeros([1, 0, 4]),
        area_range=(0.08, 1.0),
        aspect_ratio_range=(3 / 4, 4 / 3),
        min_object_covered=0.0,  # the area alone decides
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    window = tf.concat([begin[:2], size[:2]], 0)
    image = tf.image.decode_and_crop_jpeg(data, window, channels=3)
    image = tf.cast(tf.image.resize(image, [224, 224]), tf.uint8)
    return tf.image.random_flip_left_right(image)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
