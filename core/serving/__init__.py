"""The model server that runs beside the jobs: what it holds, and how it is asked to give it up and take it back."""
