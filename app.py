"""The page: settings, engine, launch. `python app.py` here, and a Hugging Face Space as it is."""

import sys

from llava_chat.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
