"""What the files of each published layout mean.

    reading -> hf | original -> description      config.json into a LlavaConfig
    names                                        weights by name, both ways
    towers                                       vision towers that checkpoints name

Imports what is beside this package in `model`, transformers, templates and errors.
"""
