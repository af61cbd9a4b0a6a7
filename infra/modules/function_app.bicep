metadata description = 'The function app on the Flex Consumption plan. Its settings are a module of their own.'

@description('Name of the app.')
param name string

@description('Name of its plan.')
param planName string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('Name of the service in azure.yaml, by which azd finds the app.')
param serviceName string

@description('Resource ID of the identity that the app acts by.')
param identityResourceId string

@description('Address of the container that the package is deployed to.')
param deploymentContainerUri string

@description('How the app scales.')
param scale scaleType

@description('Resource ID of the subnet that the app sends from; null sends from the public network.')
param subnetResourceId string?

@description('Resource ID of the workspace that diagnostics go to.')
param workspaceResourceId string

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': serviceName })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityResourceId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityResourceId
    virtualNetworkSubnetId: subnetResourceId
    siteConfig: { minTlsVersion: '1.2' }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: deploymentContainerUri
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityResourceId
          }
        }
      }
      runtime: { name: 'python', version: '3.13' }
      scaleAndConcurrency: {
        instanceMemoryMB: scale.instanceMemoryMB
        maximumInstanceCount: scale.maximumInstanceCount
        alwaysReady: [for group in items(scale.alwaysReady): { name: group.key, instanceCount: group.value }]
        triggers: { http: { perInstanceConcurrency: scale.httpConcurrency } }
      }
    }
  }
}

// A user name and a password would be one more way in.
resource publishingByPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = [for kind in [ 'ftp', 'scm' ]: {
  parent: app
  name: kind
  properties: { allow: false }
}]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: app
  properties: {
    workspaceId: workspaceResourceId
    logs: [
      { category: 'FunctionAppLogs', enabled: true }
    ]
    metrics: [
      { category: 'AllMetrics', enabled: true }
    ]
  }
}

@description('Name of the app.')
output name string = app.name

@description('Host name of the app.')
output hostName string = app.properties.defaultHostName

@export()
@description('How the app scales.')
type scaleType = {
  @description('Memory of an instance; CPU and network come in proportion.')
  instanceMemoryMB: 512 | 2048 | 4096

  @description('Most instances.')
  @minValue(1)
  @maxValue(1000)
  maximumInstanceCount: int

  @description('HTTP requests that an instance works on at once, before there is another instance.')
  @minValue(1)
  @maxValue(1000)
  httpConcurrency: int

  @description('Instances that always run, by group: `http`, `blob` or `durable`.')
  alwaysReady: {
    @description('Instances of a group.')
    *: int
  }
}
