"""Images as one stage hands them to the next: TFRecords, the views of an image, and cached activations.

In: pixels, uint8, with their labels. Out: batches of them (`tfrecords.read_records`), pixels in 0–1
(`tfrecords.normalise`, the only place), or activations mapped from disk (`activations`). Begin with `tfrecords`.
"""
