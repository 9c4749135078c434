"""Can a store be trusted? Verify, repair, and compare with the chips it was made from."""
