metadata name = 'DICOMweb on Azure Functions'
metadata description = 'Everything the server needs, in one resource group.'

targetScope = 'subscription'

import { scaleType } from 'modules/function_app.bicep'
import { administratorType, skuType } from 'modules/sql.bicep'
import { skuType as replicationType } from 'modules/storage.bicep'

@description('Required. Name of the environment; names of resources are made from it.')
@minLength(1)
@maxLength(40)
param environmentName string

@description('Required. Region of all resources; Flex Consumption must be offered there.')
param location string

// These two have defaults only so that azd does not ask for them before its hook has found them out.
@description('Required. Who administers the database: the principal that deploys, or better a group that it belongs to.')
param sqlAdministrator administratorType = { login: '', principalId: '', principalType: 'User' }

@description('Required. Audiences of the API\'s app registration, separated by commas.')
param entraAudience string = ''

@description('Optional. Name of the resource group.')
param resourceGroupName string = 'rg-${environmentName}'

@description('Optional. Tenant whose tokens are taken.')
param entraTenantId string = subscription().tenantId

@description('Optional. How the app scales. The most instances times `sqlPoolSize` must not pass the concurrent workers of the database.')
param scale scaleType = {
  instanceMemoryMB: 2048
  maximumInstanceCount: 40
  httpConcurrency: 16
  alwaysReady: { http: 1 }
}

@description('Optional. Most database connections of one instance.')
@minValue(3)
@maxValue(100)
param sqlPoolSize int = 6

@description('Optional. Size of the database.')
param sqlSku skuType = { name: 'GP_S_Gen5', tier: 'GeneralPurpose', capacity: 4 }

@description('Optional. Minutes after which an idle serverless database pauses; -1 never. Its timers keep a running app from ever being idle.')
@minValue(-1)
@maxValue(10080)
param sqlAutoPauseMinutes int = -1

@description('Optional. Where backups of the database are kept.')
param sqlBackupRedundancy 'Geo' | 'GeoZone' | 'Local' | 'Zone' = 'Geo'

@description('Optional. Replication of the data.')
param dataReplication replicationType = 'Standard_ZRS'

@description('Optional. Days for which deleted blobs, containers, secrets and the vault can be brought back.')
@minValue(7)
@maxValue(90)
param softDeleteDays int = 30

@description('Optional. Days after which files that could not be ingested are deleted; 0 keeps them.')
@minValue(0)
param failedInboxDays int = 0

@description('Optional. Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Optional. Largest body of a request, in bytes.')
@minValue(1048576)
param requestBodyLimitBytes int = 220200960

@description('Optional. Whether storage, database and vault are reached by private endpoints only.')
param privateNetworking bool = false

@description('Optional. Addresses of the virtual network, at least a /25.')
param networkAddressPrefix string = '10.20.0.0/24'

@description('Optional. Whether a FHIR service is made beside the server.')
param deployFhir bool = false

@description('Optional. Namespace of patient IDs without a known issuer, a URI; by default one of this deployment.')
param fhirPatientSystem string = ''

@description('Optional. Further settings of the app, by name; they win over those that the deployment decides.')
param appSettings object = {}

@description('Optional. Tags of all resources.')
param tags object = {}

var allTags = union(tags, { 'azd-env-name': environmentName })
var token = uniqueString(subscription().id, environmentName, location)
var appName = 'func-${token}'
var appRoles = [
  'keyVaultSecretsOfficer'
  'monitoringMetricsPublisher'
  'storageBlobDataOwner'
  'storageQueueDataContributor'
  'storageTableDataContributor'
]

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: resourceGroupName
  location: location
  tags: allTags
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  params: {
    workspaceName: 'log-${token}'
    componentName: 'appi-${token}'
    location: location
    tags: allTags
    retentionDays: logRetentionDays
  }
}

module identity 'modules/identity.bicep' = {
  scope: group
  params: { name: 'id-${token}', location: location, tags: allTags }
}

module roles 'modules/roles.bicep' = {
  scope: group
  params: {
    assignments: [for role in appRoles: {
      principalId: identity.outputs.principalId
      principalType: 'ServicePrincipal'
      role: role
    }]
  }
}

module hostStorage 'modules/storage.bicep' = {
  scope: group
  params: {
    name: 'sthost${token}'
    location: location
    tags: allTags
    skuName: 'Standard_LRS'
    containerNames: [ 'app-package' ]
    softDeleteDays: 7
    isPrivate: privateNetworking
    workspaceResourceId: monitoring.outputs.workspaceResourceId
  }
}

module dataStorage 'modules/storage.bicep' = {
  scope: group
  params: {
    name: 'stdata${token}'
    location: location
    tags: allTags
    skuName: dataReplication
    containerNames: [ 'dicom', 'inbox', 'inbox-failed' ]
    softDeleteDays: softDeleteDays
    expirations: failedInboxDays == 0 ? [] : [ { containerName: 'inbox-failed', days: failedInboxDays } ]
    isPrivate: privateNetworking
    workspaceResourceId: monitoring.outputs.workspaceResourceId
  }
}

module events 'modules/events.bicep' = {
  scope: group
  params: {
    name: 'evgt-${token}'
    location: location
    tags: allTags
    storageAccountResourceId: dataStorage.outputs.resourceId
    workspaceResourceId: monitoring.outputs.workspaceResourceId
  }
}

module sql 'modules/sql.bicep' = {
  scope: group
  params: {
    serverName: 'sql-${token}'
    databaseName: 'dicom'
    location: location
    tags: allTags
    administrator: sqlAdministrator
    sku: sqlSku
    autoPauseMinutes: sqlAutoPauseMinutes
    backupRedundancy: sqlBackupRedundancy
    isPrivate: privateNetworking
    workspaceResourceId: monitoring.outputs.workspaceResourceId
  }
}

module keyVault 'modules/key_vault.bicep' = {
  scope: group
  params: {
    name: 'kv-${token}'
    location: location
    tags: allTags
    softDeleteDays: softDeleteDays
    isPrivate: privateNetworking
    workspaceResourceId: monitoring.outputs.workspaceResourceId
  }
}

module fhir 'modules/fhir.bicep' = if (deployFhir) {
  scope: group
  params: {
    workspaceName: 'hw${token}'
    serviceName: 'fhir'
    location: location
    tags: allTags
    logWorkspaceResourceId: monitoring.outputs.workspaceResourceId
  }
}

module fhirRole 'modules/roles.bicep' = if (deployFhir) {
  scope: group
  params: {
    assignments: [
      { principalId: identity.outputs.principalId, principalType: 'ServicePrincipal', role: 'fhirDataContributor' }
    ]
  }
}

module network 'modules/network.bicep' = if (privateNetworking) {
  scope: group
  params: {
    name: 'vnet-${token}'
    location: location
    tags: allTags
    addressPrefix: networkAddressPrefix
    services: [
      { name: 'host-blob', resourceId: hostStorage.outputs.resourceId, groupId: 'blob' }
      { name: 'host-queue', resourceId: hostStorage.outputs.resourceId, groupId: 'queue' }
      { name: 'host-table', resourceId: hostStorage.outputs.resourceId, groupId: 'table' }
      { name: 'data-blob', resourceId: dataStorage.outputs.resourceId, groupId: 'blob' }
      { name: 'data-queue', resourceId: dataStorage.outputs.resourceId, groupId: 'queue' }
      { name: 'data-table', resourceId: dataStorage.outputs.resourceId, groupId: 'table' }
      { name: 'sql', resourceId: sql.outputs.serverResourceId, groupId: 'sqlServer' }
      { name: 'vault', resourceId: keyVault.outputs.resourceId, groupId: 'vault' }
    ]
  }
}

module app 'modules/function_app.bicep' = {
  scope: group
  params: {
    name: appName
    planName: 'plan-${token}'
    location: location
    tags: allTags
    serviceName: 'api'
    identityResourceId: identity.outputs.resourceId
    deploymentContainerUri: '${hostStorage.outputs.blobServiceUri}app-package'
    scale: scale
    subnetResourceId: privateNetworking ? network!.outputs.appSubnetResourceId : null
    workspaceResourceId: monitoring.outputs.workspaceResourceId
  }
  // The app reads its package by these.
  dependsOn: [ roles ]
}

var appUrl = 'https://${app.outputs.hostName}'
var fhirSettings = deployFhir ? {
  FHIR_AUTHENTICATION: 'identity'
  FHIR_DICOMWEB_URL: '${appUrl}/v2'
  FHIR_PATIENT_SYSTEM: empty(fhirPatientSystem) ? '${appUrl}/patient-id' : fhirPatientSystem
  FHIR_URL: fhir!.outputs.endpoint
} : {}

module settings 'modules/app_settings.bicep' = {
  scope: group
  params: {
    appName: app.outputs.name
    others: union(fhirSettings, appSettings)
    identityClientId: identity.outputs.clientId
    hostStorage: hostStorage.outputs.services
    dataStorage: dataStorage.outputs.services
    sqlServer: sql.outputs.serverHostName
    sqlDatabase: sql.outputs.databaseName
    sqlPoolSize: sqlPoolSize
    keyVaultUri: keyVault.outputs.uri
    entraTenantId: entraTenantId
    entraAudience: entraAudience
    applicationInsightsConnectionString: monitoring.outputs.connectionString
    requestBodyLimitBytes: requestBodyLimitBytes
  }
}

@description('Resource group of everything.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Name of the function app.')
output APP_NAME string = app.outputs.name

@description('Host name of the function app.')
output APP_HOST_NAME string = app.outputs.hostName

@description('Name of the app\'s identity, and of its database user.')
output APP_IDENTITY_NAME string = identity.outputs.name

@description('Client ID of the app\'s identity.')
output APP_IDENTITY_CLIENT_ID string = identity.outputs.clientId

@description('Name of the Event Grid topic of the data account.')
output EVENTS_TOPIC_NAME string = events.outputs.name

@description('Name of the SQL server.')
output SQL_SERVER_NAME string = sql.outputs.serverName

@description('Host name of the SQL server.')
output SQL_SERVER string = sql.outputs.serverHostName

@description('Name of the database.')
output SQL_DATABASE string = sql.outputs.databaseName

@description('Address of the FHIR service, if there is one.')
output FHIR_ENDPOINT string? = deployFhir ? fhir!.outputs.endpoint : null
