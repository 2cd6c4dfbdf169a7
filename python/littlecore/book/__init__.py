"""The Little Book of Deep Learning (F. Fleuret, version 1.2, 2024) as programs, one or more a section.

`littlecore book list` shows them, `littlecore book run 1.2` runs one. Every program is a module here with `run(demo)`,
made to be read from top to bottom: data, model, loss, loop, figure.
"""
