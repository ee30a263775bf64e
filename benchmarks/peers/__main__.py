"""Run the peers and the pipeline: python -m benchmarks.peers --help"""

from benchmarks.peers.runs import main
from transfer.core.errors import run

if __name__ == "__main__":
    run(main)
