package testbed

import (
	"context"
	"fmt"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Rights are what a ServiceAccount may do.
type Rights struct {
	// Everywhere holds for cluster-wide resources and in all namespaces.
	Everywhere []rbacv1.PolicyRule
	// In holds in the namespaces that are its keys.
	In map[string][]rbacv1.PolicyRule
}

// As returns a way into the cluster that acts as another user, by
// impersonation. The audit log then has the administrator as the caller and the
// other as Impersonated; for a caller of its own see ServiceAccount.
func (c *Cluster) As(user string, groups ...string) *rest.Config {
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return config
}

// Calling returns a way into the cluster with all rights, whose calls bear a
// user agent, by which Calls finds them.
func (c *Cluster) Calling(userAgent string) *rest.Config {
	config := rest.CopyConfig(c.Config)
	config.UserAgent = userAgent
	return config
}

// ServiceAccount makes a ServiceAccount with these rights and no others, and
// returns its way into the cluster by a token that lasts a day. It returns when
// the API server honours the rights. The namespaces must be there; what is there
// already of the account is kept, its rights being replaced.
func (c *Cluster) ServiceAccount(ctx context.Context, namespace, name string, rights Rights) (*rest.Config, error) {
	fail := func(err error) (*rest.Config, error) {
		return nil, fmt.Errorf("make ServiceAccount %s/%s: %w", namespace, name, err)
	}
	_, err := c.Client.CoreV1().ServiceAccounts(namespace).Create(ctx,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fail(err)
	}
	if err := c.grant(ctx, namespace, name, rights); err != nil {
		return fail(err)
	}
	day := int64(24 * 60 * 60)
	token, err := c.Client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name,
		&authnv1.TokenRequest{Spec: authnv1.TokenRequestSpec{ExpirationSeconds: &day}}, metav1.CreateOptions{})
	if err != nil {
		return fail(err)
	}
	config := rest.AnonymousClientConfig(c.Config)
	config.QPS, config.BearerToken = -1, token.Status.Token
	if err := awaitRights(ctx, config, rights); err != nil {
		return fail(err)
	}
	return config, nil
}

func (c *Cluster) grant(ctx context.Context, namespace, name string, rights Rights) error {
	subject := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}}
	meta := metav1.ObjectMeta{Name: "testbed:" + namespace + ":" + name}
	rbac := c.Client.RbacV1()
	if len(rights.Everywhere) > 0 {
		role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rights.Everywhere}
		_, err := rbac.ClusterRoles().Create(ctx, role, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			_, err = rbac.ClusterRoles().Update(ctx, role, metav1.UpdateOptions{})
		}
		if err != nil {
			return err
		}
		_, err = rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: meta, Subjects: subject,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	for in, rules := range rights.In {
		role := &rbacv1.Role{ObjectMeta: meta, Rules: rules}
		_, err := rbac.Roles(in).Create(ctx, role, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			_, err = rbac.Roles(in).Update(ctx, role, metav1.UpdateOptions{})
		}
		if err != nil {
			return err
		}
		_, err = rbac.RoleBindings(in).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: meta, Subjects: subject,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// awaitRights waits until the API server's authorizer, which learns of roles
// through a watch, lets the account do the first thing that each rule allows.
func awaitRights(ctx context.Context, config *rest.Config, rights Rights) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	wait := func(namespace string, rules []rbacv1.PolicyRule) error {
		for _, r := range rules {
			if len(r.Verbs) == 0 || len(r.APIGroups) == 0 || len(r.Resources) == 0 {
				continue
			}
			ask := &authzv1.ResourceAttributes{Namespace: namespace, Verb: r.Verbs[0], Group: r.APIGroups[0], Resource: r.Resources[0]}
			if len(r.ResourceNames) > 0 {
				ask.Name = r.ResourceNames[0]
			}
			ask.Resource, ask.Subresource = splitResource(ask.Resource)
			review := &authzv1.SelfSubjectAccessReview{Spec: authzv1.SelfSubjectAccessReviewSpec{ResourceAttributes: ask}}
			err := Until(ctx, func(ctx context.Context) (bool, error) {
				got, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
				return err == nil && got.Status.Allowed, err
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := wait("", rights.Everywhere); err != nil {
		return err
	}
	for in, rules := range rights.In {
		if err := wait(in, rules); err != nil {
			return err
		}
	}
	return nil
}
