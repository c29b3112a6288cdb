"""Untrusted bytes to upright RGB, and the child process that does it.

A decoder is where hostile files strike, so workers.py runs this package as a program of its own,
with limits on memory and processor time, and trusts nothing that comes back.

    child.py     the program: requests in, pixels out, within limits
    decoding.py  from a file's bytes to pixels, or the sentence that refuses it
    headers.py   what a file tells of itself before it is decoded
    metadata.py  cuts out what is never used, damaged or not
    rgb.py       orientation, transparency and rare modes

It imports the standard library and Pillow only, so that the child starts quickly and has room
under its memory limit. The child knows it as the package `decoder`, without the rest of llava_chat;
therefore its modules import each other relatively.
"""
