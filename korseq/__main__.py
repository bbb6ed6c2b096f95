"""`python -m korseq` is `korseq`; so that launchers can start it: `accelerate launch -m korseq train …`."""

from korseq.cli import main

if __name__ == "__main__":
    main()
