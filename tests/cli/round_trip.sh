# Train, merge, load again, write: the same text, for every architecture.
exec python3 "$QL_SOURCE/tests/cli/round_trip.py"
