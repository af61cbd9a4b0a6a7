"""What Azure Developer CLI does before and after what Bicep can say."""
