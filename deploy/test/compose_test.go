package deploytest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

func compose(t *testing.T, environment types.Mapping) (*types.Project, error) {
	t.Helper()
	path, err := filepath.Abs("../compose.yaml")
	require.NoError(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  filepath.Dir(path),
		ConfigFiles: []types.ConfigFile{{Filename: path, Content: content}},
		Environment: environment,
	}, func(o *loader.Options) { o.Profiles = []string{"*"} })
}

func TestTheComposeFileHoldsTogether(t *testing.T) {
	_, err := compose(t, nil)
	require.ErrorContains(t, err, "PLEO_ENCRYPTION_KEY", "a key that everybody has is none")

	project, err := compose(t, types.Mapping{"PLEO_ENCRYPTION_KEY": "made by the user"})
	require.NoError(t, err)
	require.Len(t, project.Services, 4)
	stages := map[string]bool{}
	for _, i := range dockerfile(t) {
		stages[i.stage] = true
	}
	for name, service := range project.Services {
		require.Regexp(t, pinned, service.Image, name)
		if service.Build != nil {
			require.True(t, stages[service.Build.Target], name)
			require.FileExists(t, filepath.Join(service.Build.Context, service.Build.Dockerfile))
			require.True(t, service.ReadOnly, name)
			require.Equal(t, []string{"ALL"}, service.CapDrop, name)
		}
		for _, v := range service.Volumes {
			if v.Type == types.VolumeTypeBind {
				require.FileExists(t, v.Source, name)
			} else {
				require.Contains(t, project.Volumes, v.Source, name)
			}
		}
		for _, p := range service.Ports {
			require.Equal(t, "127.0.0.1", p.HostIP, "%s: open to the network", name)
		}
	}
	// They reach the proxy as the containers of a pod do.
	require.Equal(t, "service:proxy", project.Services["application"].NetworkMode)
	require.Equal(t, "service:proxy", project.Services["emulator"].NetworkMode)
}
