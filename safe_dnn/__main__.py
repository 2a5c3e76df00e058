"""The command line as `python -m safe_dnn`."""

from safe_dnn.SAFE_Tool import run

if __name__ == "__main__":
    run()
