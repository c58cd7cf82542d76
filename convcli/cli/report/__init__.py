"""Records as text, tables and JSON; numpy and Rich load only with the reports that need them."""
