metadata description = 'The settings of the function app, by the names that the app and the host read.'

import { servicesType } from 'storage.bicep'

@description('Name of the function app.')
param appName string

@description('Settings besides those that the deployment decides, by name; they win over these.')
param others object

@description('Client ID of the identity that the app acts by.')
param identityClientId string

@description('Blob, queue and table service of the host\'s own account.')
param hostStorage servicesType

@description('Blob, queue and table service of the account of the data.')
param dataStorage servicesType

@description('Host name of the SQL server.')
param sqlServer string

@description('Name of the database.')
param sqlDatabase string

@description('Most connections of one worker process; there is one process on an instance.')
@minValue(3)
param sqlPoolSize int

@description('Address of the vault.')
param keyVaultUri string

@description('Tenant whose tokens are taken.')
param entraTenantId string

@description('Audiences that tokens may be made for, separated by commas.')
@minLength(1)
param entraAudience string

@description('Where telemetry is sent.')
param applicationInsightsConnectionString string

@description('Largest body of a request, in bytes.')
@minValue(1048576)
param requestBodyLimitBytes int

resource app 'Microsoft.Web/sites@2024-11-01' existing = {
  name: appName
}

// Flex Consumption refuses the settings that name a runtime, a package or a content share, and
// those that count workers: what they said is in the app's functionAppConfig.
resource settings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: union({
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${identityClientId}'
    APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsightsConnectionString
    AUTHENTICATION: 'entra'
    AZURE_CLIENT_ID: identityClientId
    AzureWebJobsStorage__blobServiceUri: hostStorage.blobServiceUri
    AzureWebJobsStorage__clientId: identityClientId
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__queueServiceUri: hostStorage.queueServiceUri
    AzureWebJobsStorage__tableServiceUri: hostStorage.tableServiceUri
    DATA_STORAGE__blobServiceUri: dataStorage.blobServiceUri
    DATA_STORAGE__clientId: identityClientId
    DATA_STORAGE__credential: 'managedidentity'
    DATA_STORAGE__queueServiceUri: dataStorage.queueServiceUri
    DATA_STORAGE__tableServiceUri: dataStorage.tableServiceUri
    ENTRA_AUDIENCE: entraAudience
    ENTRA_AUTHORITY: environment().authentication.loginEndpoint
    ENTRA_TENANT_ID: entraTenantId
    FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: string(requestBodyLimitBytes)
    INBOX_SOURCE: 'EventGrid'
    KEY_VAULT_URI: keyVaultUri
    // Streams need it; it is how Python 3.13 starts by itself.
    PYTHON_ENABLE_INIT_INDEXING: '1'
    SQL_DATABASE: sqlDatabase
    SQL_POOL_SIZE: string(sqlPoolSize)
    SQL_SERVER: sqlServer
  }, others)
}
