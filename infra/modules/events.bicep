metadata description = 'Events of the data account. The subscription needs the running app, and is made after it is deployed.'

@description('Name of the topic.')
param name string

@description('Region of the account.')
param location string

@description('Tags.')
param tags object

@description('Resource ID of the storage account.')
param storageAccountResourceId string

@description('Resource ID of the workspace that diagnostics go to.')
param workspaceResourceId string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  properties: {
    source: storageAccountResourceId
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: topic
  properties: {
    workspaceId: workspaceResourceId
    logs: [
      { category: 'DeliveryFailures', enabled: true }
    ]
    metrics: [
      { category: 'AllMetrics', enabled: true }
    ]
  }
}

@description('Name of the topic.')
output name string = topic.name
