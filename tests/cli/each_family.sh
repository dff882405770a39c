# Every family: quantized, trained in each way, evaluated, and written with.
exec python3 "$QL_SOURCE/tests/cli/each_family.py"
