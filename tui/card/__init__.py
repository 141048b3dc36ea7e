"""The card as rows: what of it is shown where is the pane's affair (`tui.panes.gpu`)."""
