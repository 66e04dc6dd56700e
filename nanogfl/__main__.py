from nanogfl.cli.main import main

main()
