metadata description = 'A FHIR service of Azure Health Data Services, for what is learned of the imaging studies.'

@description('Name of the workspace; letters and digits only.')
@minLength(3)
@maxLength(24)
param workspaceName string

@description('Name of the service.')
param serviceName string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('Resource ID of the workspace that diagnostics go to.')
param logWorkspaceResourceId string

resource workspace 'Microsoft.HealthcareApis/workspaces@2024-03-31' = {
  name: workspaceName
  location: location
  tags: tags
}

var address = 'https://${workspaceName}-${serviceName}.fhir.azurehealthcareapis.com'

resource service 'Microsoft.HealthcareApis/workspaces/fhirservices@2024-03-31' = {
  parent: workspace
  name: serviceName
  location: location
  tags: tags
  kind: 'fhir-R4'
  properties: {
    authenticationConfiguration: {
      audience: address
      authority: uri(environment().authentication.loginEndpoint, subscription().tenantId)
      smartProxyEnabled: false
    }
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: service
  properties: {
    workspaceId: logWorkspaceResourceId
    logs: [
      { category: 'AuditLogs', enabled: true }
    ]
  }
}

@description('Address of the service, which is also the audience of tokens for it.')
output endpoint string = service.properties.authenticationConfiguration.audience
