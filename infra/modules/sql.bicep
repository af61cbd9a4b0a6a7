metadata description = 'The index: an Azure SQL server that knows only Entra principals, and one database.'

@description('Name of the server.')
param serverName string

@description('Name of the database.')
param databaseName string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('Who administers the server, and so creates users and applies migrations.')
param administrator administratorType

@description('Size of the database, which bounds the requests that run in it at once.')
param sku skuType

@description('Minutes without a connection after which a serverless database pauses; -1 never.')
param autoPauseMinutes int

@description('Where backups are kept.')
param backupRedundancy 'Geo' | 'GeoZone' | 'Local' | 'Zone'

@description('Whether the server is reached by private endpoints only.')
param isPrivate bool

@description('Resource ID of the workspace that diagnostics go to.')
param workspaceResourceId string

var isServerless = contains(sku.name, '_S_')

resource server 'Microsoft.Sql/servers@2023-08-01' = {
  name: serverName
  location: location
  tags: tags
  properties: {
    minimalTlsVersion: '1.2'
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    administrators: {
      administratorType: 'ActiveDirectory'
      azureADOnlyAuthentication: true
      login: administrator.login
      principalType: administrator.principalType
      sid: administrator.principalId
      tenantId: subscription().tenantId
    }
  }
}

// READ_COMMITTED_SNAPSHOT, which lets readers pass writers, is on in every new Azure SQL database.
resource database 'Microsoft.Sql/servers/databases@2023-08-01' = {
  parent: server
  name: databaseName
  location: location
  tags: tags
  sku: sku
  properties: {
    autoPauseDelay: isServerless ? autoPauseMinutes : null
    requestedBackupStorageRedundancy: backupRedundancy
  }
}

// 0.0.0.0 stands for services inside Azure, of every tenant: a token is still needed.
resource azureServices 'Microsoft.Sql/servers/firewallRules@2023-08-01' = if (!isPrivate) {
  parent: server
  name: 'AllowAllWindowsAzureIps'
  properties: { startIpAddress: '0.0.0.0', endIpAddress: '0.0.0.0' }
}

resource auditing 'Microsoft.Sql/servers/databases/auditingSettings@2023-08-01' = {
  parent: database
  name: 'default'
  properties: {
    state: 'Enabled'
    isAzureMonitorTargetEnabled: true
    // Who connected and who changed what may be done; statements would carry names of patients.
    auditActionsAndGroups: [
      'DATABASE_PERMISSION_CHANGE_GROUP'
      'DATABASE_PRINCIPAL_CHANGE_GROUP'
      'DATABASE_ROLE_MEMBER_CHANGE_GROUP'
      'FAILED_DATABASE_AUTHENTICATION_GROUP'
      'SUCCESSFUL_DATABASE_AUTHENTICATION_GROUP'
    ]
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: database
  properties: {
    workspaceId: workspaceResourceId
    logs: [
      { category: 'SQLSecurityAuditEvents', enabled: true }
      { category: 'Blocks', enabled: true }
      { category: 'Deadlocks', enabled: true }
      { category: 'Timeouts', enabled: true }
    ]
    metrics: [
      { category: 'Basic', enabled: true }
    ]
  }
}

@description('Name of the server.')
output serverName string = server.name

@description('Host name of the server.')
output serverHostName string = server.properties.fullyQualifiedDomainName

@description('Resource ID of the server.')
output serverResourceId string = server.id

@description('Name of the database.')
output databaseName string = database.name

@export()
@description('An Entra principal that administers the server.')
type administratorType = {
  @description('Name that the server shows for it.')
  login: string

  @description('Object ID.')
  principalId: string

  @description('What kind of principal it is.')
  principalType: 'Application' | 'Group' | 'User'
}

@export()
@description('Size of a database.')
type skuType = {
  @description('Kind of compute: `GP_S_Gen5` for serverless, `GP_Gen5`, or `Standard` with DTUs.')
  name: string

  @description('Service tier.')
  tier: 'BusinessCritical' | 'GeneralPurpose' | 'Hyperscale' | 'Standard'

  @description('Most vCores, or DTUs.')
  capacity: int
}
