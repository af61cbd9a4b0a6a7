"""How the server comes to Azure."""
