"""The command line: python -m models."""
import argparse
import sys

from models.catalog import catalog, measure, table


def main(arguments):
    parser = argparse.ArgumentParser("python -m models", description="Every network that can be built here: "
                                     "counts for one example of the default input.")
    parser.add_argument("--match", default="*", metavar="PATTERN", help="only these networks: 'resnet*'")
    parser.add_argument("--plot", metavar="FILE", help="draw accuracy on ImageNet against operations")
    parser.add_argument("--measure", action="store_true", help="count anew, which takes minutes, and store")
    flags = parser.parse_args(arguments)
    if flags.measure:
        measure()
    networks = catalog(flags.match)
    print(table(networks))
    if flags.plot:
        from models.canziani import plot
        plot(networks, flags.plot)
        print(f"\n{flags.plot}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BrokenPipeError:                      # piped into head
        sys.exit(1)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
