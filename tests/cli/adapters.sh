# Adapters that PEFT wrote, and the same ones as MLX would have them: served,
# and trained on.
exec python3 "$QL_SOURCE/tests/cli/adapters.py"
