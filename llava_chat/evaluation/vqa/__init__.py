"""VQAv2 (arXiv 1612.00837): open questions about photographs, each answered by ten people."""
