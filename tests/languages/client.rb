# A service as they are: reads its config when it is told to, and logs in.
require "json"
require "net/http"
require "yaml"

$stdout.sync = true
config, url = ARGV

$stdin.each_line do
  parsed = config.end_with?(".yaml") ? YAML.load_file(config) : JSON.parse(File.read(config))
  database = parsed.fetch("database")
  uri = URI(url)
  request = Net::HTTP::Get.new(uri)
  request.basic_auth(database.fetch("username"), database.fetch("password"))
  puts Net::HTTP.start(uri.host, uri.port, nil) { |http| http.request(request).code }
end
