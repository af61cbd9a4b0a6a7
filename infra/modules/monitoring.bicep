metadata description = 'Where logs, traces and metrics go: one workspace, and Application Insights on it.'

@description('Name of the Log Analytics workspace.')
param workspaceName string

@description('Name of the Application Insights component.')
param componentName string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param retentionDays int

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    retentionInDays: retentionDays
    sku: { name: 'PerGB2018' }
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

resource component 'Microsoft.Insights/components@2020-02-02' = {
  name: componentName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    // Whoever has only the connection string can send nothing.
    DisableLocalAuth: true
  }
}

@description('Resource ID of the workspace, for diagnostic settings.')
output workspaceResourceId string = workspace.id

@description('Where telemetry is sent. It is an address; what may be sent is decided by roles.')
output connectionString string = component.properties.ConnectionString
