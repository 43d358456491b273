"""Labelled pictures in the formats of others: one value, a reader for each format, writers of YOLO and COCO."""
