metadata description = 'A storage account that takes no keys and shows nothing in public, and its containers.'

@description('Name of the account.')
@minLength(3)
@maxLength(24)
param name string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('Replication.')
param skuName skuType

@description('Names of the blob containers.')
param containerNames string[]

@description('Days for which deleted blobs and containers can be brought back.')
@minValue(1)
@maxValue(365)
param softDeleteDays int

@description('Containers of which blobs older than some days are deleted.')
param expirations expirationType[] = []

@description('Whether the account is reached by private endpoints only.')
param isPrivate bool

@description('Resource ID of the workspace that diagnostics go to.')
param workspaceResourceId string

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: skuName }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    containerDeleteRetentionPolicy: { enabled: true, days: softDeleteDays }
    deleteRetentionPolicy: { enabled: true, days: softDeleteDays }
  }
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices@2025-06-01' = {
  parent: account
  name: 'default'
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2025-06-01' = {
  parent: account
  name: 'default'
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = [for containerName in containerNames: {
  parent: blobs
  name: containerName
  properties: { publicAccess: 'None' }
}]

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = if (!empty(expirations)) {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [for expiration in expirations: {
        name: 'expire-${expiration.containerName}'
        enabled: true
        type: 'Lifecycle'
        definition: {
          filters: { blobTypes: [ 'blockBlob' ], prefixMatch: [ '${expiration.containerName}/' ] }
          actions: { baseBlob: { delete: { daysAfterCreationGreaterThan: expiration.days } } }
        }
      }]
    }
  }
}

resource blobDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: blobs
  properties: {
    workspaceId: workspaceResourceId
    logs: [
      { category: 'StorageDelete', enabled: true }
    ]
    metrics: [
      { category: 'Transaction', enabled: true }
    ]
  }
}

@description('Resource ID of the account.')
output resourceId string = account.id

@description('Address of its blob service, with a final slash.')
output blobServiceUri string = account.properties.primaryEndpoints.blob

@description('Addresses of its services.')
output services servicesType = {
  blobServiceUri: account.properties.primaryEndpoints.blob
  queueServiceUri: account.properties.primaryEndpoints.queue
  tableServiceUri: account.properties.primaryEndpoints.table
}

@description('A container, and how long what lies in it is kept.')
type expirationType = {
  @description('Name of the container.')
  containerName: string

  @description('Days after which a blob of it is deleted.')
  days: int
}

@export()
@description('How many copies are kept, and where.')
type skuType = 'Standard_GRS' | 'Standard_GZRS' | 'Standard_LRS' | 'Standard_RAGRS' | 'Standard_RAGZRS' | 'Standard_ZRS'

@export()
@description('The services of a storage account.')
type servicesType = {
  @description('Address of the blob service.')
  blobServiceUri: string

  @description('Address of the queue service.')
  queueServiceUri: string

  @description('Address of the table service.')
  tableServiceUri: string
}
